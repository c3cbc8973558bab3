"""What the codecs that Pillow carries have in common."""

from __future__ import annotations

import io
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from rdp.codecs.base import Codec, OperatingPoint
from rdp.errors import CodecError, DependencyError, FormatError

if TYPE_CHECKING:
    import numpy as np

SUBSAMPLINGS = {"420": "4:2:0", "422": "4:2:2", "444": "4:4:4"}


class PillowCodec(Codec):
    """A codec behind `PIL.Image.save`: a subclass names the format and gives the options of its point."""

    pillow_format: ClassVar[str]
    feature: ClassVar[str]
    library: ClassVar[str]

    def __init__(self, point: OperatingPoint) -> None:
        from PIL import Image, features

        super().__init__(point)
        if not features.check(self.feature):
            raise DependencyError(
                f"{self.family}: this Pillow was built without {self.feature}; pip install 'pillow>=11.3'"
            )
        Image.init()
        self._options = self.options()

    @abstractmethod
    def options(self) -> dict[str, Any]:
        """Keyword arguments of `Image.save` for this point."""

    def _identity(self) -> Any:
        # What is set for all points of a family counts too: rows made with other settings must not pass for these.
        return self._options

    @property
    def version(self) -> str:
        import PIL
        from PIL import features

        return f"Pillow {PIL.__version__}, {self.library} {features.version(self.feature)}"

    def encode(self, image: np.ndarray[Any, Any]) -> bytes:
        from PIL import Image

        stream = io.BytesIO()
        try:
            Image.fromarray(image).save(stream, format=self.pillow_format, **self._options_for(image))
        except (OSError, ValueError, RuntimeError) as error:
            size = f"{image.shape[1]}x{image.shape[0]}"
            raise CodecError(f"{self.point.name} cannot encode an image of {size}: {error}") from error
        return stream.getvalue()

    def _options_for(self, image: np.ndarray[Any, Any]) -> dict[str, Any]:
        """Options that depend on the image's size, where a format needs them."""
        return self._options

    def decode(self, data: bytes) -> np.ndarray[Any, Any]:
        import numpy as np
        from PIL import Image, UnidentifiedImageError

        try:
            with Image.open(io.BytesIO(data), formats=[self.pillow_format]) as picture:
                return np.asarray(picture.convert("RGB"))
        except Image.DecompressionBombError as error:
            raise FormatError(f"the picture in this {self.family} file is too large to decode: {error}") from error
        except UnidentifiedImageError as error:  # its text names only the stream in memory
            raise FormatError(f"not a valid {self.family} file: it does not begin as one, or is cut short") from error
        except (OSError, ValueError, RuntimeError, SyntaxError, EOFError) as error:
            raise FormatError(f"not a valid {self.family} file: {error}") from error
