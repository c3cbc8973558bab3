"""CompressAI's own models, run by CompressAI itself: `compressai:model=mbt2018,quality=1,metric=mse`.

For users who have the package. It needs NumPy below 2, and so an environment of its own, whose interpreter is named in
RDP_COMPRESSAI_PYTHON. The networks that rdp has itself (`factorized`, `hyperprior`) run on the same weights without the
package, and their files decode on every machine.

Weights: the published files stand in the index (`rdp weights list`), and are found and checked as all others are.
torch.hub's own folder (~/.cache/torch/hub/checkpoints) serves too when it is named in RDP_WEIGHTS. In place of
`quality`, `path=FILE` names a checkpoint of your own; the point is then called by the beginning of its SHA-256. Neither
is loaded with pickle.

`bmshj2018-factorized-relu` has no published weights, and the package's function of that name builds the GDN network in
its place (1.2.8); it is offered with `path` only.

Pictures are padded to multiples of 64 with zeros on all sides, as the package's own evaluation does. Everything runs on
the CPU with one thread: what parameters the decoder computes depends on the order of floating-point sums, so that a
file decodes on machines and versions like those that wrote it, and need not elsewhere. The autoregressive models
(mbt2018, cheng2020-anchor, cheng2020-attn) code symbol by symbol in Python: seconds to minutes an image.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rdp.codecs.keys import Key, Value
from rdp.codecs.learned.families import SHA_DIGITS, Checkpoints, named_by_hash
from rdp.codecs.workers.codec import WorkerCodec
from rdp.codecs.workers.program import COMPRESSAI_CLASSES
from rdp.errors import SpecError, WeightsError
from rdp.weights import WeightsFile, resolve_first, search_folders, sha256_of

MODELS = tuple(COMPRESSAI_CLASSES)

_UNPUBLISHED = "bmshj2018-factorized-relu"
_CHENG_QUALITIES = 6
_SUFFIXES = ("*.pth", "*.pth.tar")


class CompressAI(WorkerCodec):
    """A model of CompressAI, in the interpreter that has the package."""

    family = "compressai"
    summary = "models of CompressAI, run by that package (RDP_COMPRESSAI_PYTHON)"
    keys = (
        Key("model", "choice", "the package's name of the model", required=True, choices=MODELS),
        Key("quality", "integer", "of the published weights; cheng2020 has 1..6", minimum=1, maximum=8),
        Key(
            "metric",
            "choice",
            "that the published weights were trained for; mse if not said",
            choices=("mse", "ms-ssim"),
        ),
        Key("sha", "text", f"a checkpoint of your own, by {SHA_DIGITS} digits of its SHA-256; path=FILE finds them"),
    )

    library = "compressai"
    variable = "RDP_COMPRESSAI_PYTHON"
    install = "python -m venv cai && cai/bin/pip install compressai, for example; the interpreter is cai/bin/python"

    @classmethod
    def resolve(cls, pairs: Mapping[str, str], spec: str) -> tuple[Mapping[str, str], Any]:
        """`path=FILE` becomes `sha=...`, and where the file lies the definition; a quality has a metric."""
        if "quality" in pairs:
            pairs = {"metric": "mse", **pairs}
        if "path" not in pairs:
            return pairs, None
        return named_by_hash(pairs, spec)

    @classmethod
    def check(cls, values: Mapping[str, Value], where: str) -> None:
        model, quality = values["model"], values.get("quality")
        if (quality is None) == ("sha" not in values):
            raise SpecError(f"{where}: give either quality=, of the published weights, or path=, of a checkpoint")
        if quality is None and "metric" in values:
            raise SpecError(f"{where}: metric= goes with quality=; a checkpoint of your own has none")
        if quality is not None and model == _UNPUBLISHED:
            raise SpecError(f"{where}: CompressAI has published no weights of {model}; name a checkpoint with path=")
        if isinstance(quality, int) and str(model).startswith("cheng2020") and quality > _CHENG_QUALITIES:
            raise SpecError(f"{where}: quality={quality} is not allowed; {model} takes 1..{_CHENG_QUALITIES}")

    @property
    def model(self) -> str:
        return str(self.point.get("model"))

    def _find_weights(self) -> WeightsFile:
        sha = self.point.get("sha")
        if sha is None:
            name = f"{self.point.get('model')}-{self.point.get('metric')}-{self.point.get('quality')}"
            return resolve_first((name,), needed_by=self.point.name)
        known = self.point.definition.paths if isinstance(self.point.definition, Checkpoints) else {}
        digits = str(sha)
        for path in [known[digits]] if digits in known else _checkpoints():
            sha256 = sha256_of(path)
            if sha256.startswith(digits):
                return WeightsFile(self.point.name, path, sha256)
        raise WeightsError(
            f"no checkpoint ({', '.join(_SUFFIXES)}) with SHA-256 {sha}... lies in "
            f"{', '.join(map(str, search_folders()))}: give path=FILE in place of sha="
        )


def _checkpoints() -> list[Path]:
    return [path for folder in search_folders() for suffix in _SUFFIXES for path in sorted(folder.glob(suffix))]
