"""MS-ILLM of NeuralCompression (Muckley et al. 2023): `neuralcompression:model=msillm,quality=1..6`.

For users who have the package (facebookresearch/NeuralCompression), in an environment whose interpreter is named in
RDP_NEURALCOMPRESSION_PYTHON. Qualities 1 to 6 are the authors' target rates of 0.035, 0.07, 0.14, 0.3, 0.45 and
0.9 bit/pixel. The authors publish no hashes of the weights, so that these are not in the index: put the file that the
error names into a folder of RDP_WEIGHTS (torch.hub's ~/.cache/torch/hub/checkpoints will do). The hash of what was used
stands in the tables' encoder identity. The weights are for non-commercial use (CC BY-NC 4.0).

The network pads by itself, by reflection at the bottom and the right to multiples of 64, so that an image must have
more pixels a side than are padded. It runs on the CPU with one thread, as `rdp.codecs.workers.program` says.

Tested with random weights of its layout, NeuralCompression 0.3.1 and CompressAI 1.2.8: files hold the strings of the
package and decode to its pictures. The published weights have not been run.
"""

from __future__ import annotations

from rdp.codecs.keys import Key
from rdp.codecs.workers.codec import WorkerCodec
from rdp.errors import WeightsError
from rdp.weights import WeightsFile, search_folders, sha256_of

RATES = ("0.035", "0.07", "0.14", "0.3", "0.45", "0.9")
"""Target rates of the qualities from 1, bit/pixel, as they stand in the names of the files."""

_FOLDER = "https://dl.fbaipublicfiles.com/NeuralCompression/2023-muckley-msillm/"


class NeuralCompression(WorkerCodec):
    """MS-ILLM, in the interpreter that has NeuralCompression."""

    family = "neuralcompression"
    summary = "MS-ILLM of NeuralCompression, run by that package (RDP_NEURALCOMPRESSION_PYTHON)"
    keys = (
        Key("model", "choice", "the model", default="msillm", choices=("msillm",)),
        Key("quality", "integer", "from 0.035 to 0.9 bit/pixel", required=True, minimum=1, maximum=len(RATES)),
    )

    library = "neuralcompression"
    variable = "RDP_NEURALCOMPRESSION_PYTHON"
    install = "python -m venv nc && nc/bin/pip install neuralcompression, for example; the interpreter is nc/bin/python"

    @property
    def model(self) -> str:
        return str(self.point.get("model"))

    def _find_weights(self) -> WeightsFile:
        name = f"msillm_target_{RATES[self.point.integer('quality') - 1]}bpp.ckpt"
        for folder in search_folders():
            path = folder / name
            if path.is_file():
                return WeightsFile(name, path, sha256_of(path))
        raise WeightsError(
            f"{self.point.name} needs {name}, which is not on this machine: download {_FOLDER}{name}, and name the "
            "folder that it lies in in RDP_WEIGHTS"
        )
