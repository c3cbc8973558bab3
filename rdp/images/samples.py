"""Six real colour photographs that every installation has: they ship inside scikit-image."""

from __future__ import annotations

from pathlib import Path

from rdp.errors import DependencyError

SAMPLE_FILES = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "hubble_deep_field.jpg",
    "motorcycle_left.png",
    "rocket.jpg",
)


def sample_images() -> list[Path]:
    """Paths of six colour photographs (300 to 1,000 pixels a side), for demos and documentation.

    They belong to the installed scikit-image package: copy them before changing them. Raises `DependencyError` if
    that package is missing or came without its pictures.
    """
    from importlib.util import find_spec

    # find_spec instead of an import: scikit-image itself is not needed, only where it lies.
    spec = find_spec("skimage")
    if spec is None or spec.origin is None:
        raise DependencyError(
            "the sample images come with scikit-image, which is not installed: pip install scikit-image"
        )
    folder = Path(spec.origin).parent / "data"
    paths = [folder / name for name in SAMPLE_FILES]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise DependencyError(f"scikit-image in {folder.parent} came without {', '.join(missing)}: install it again")
    return paths
