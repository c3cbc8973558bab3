"""Images: read, list, hash, pad, crop, by the evaluation protocol (8-bit RGB at native size)."""

from rdp.images.files import IMAGE_SUFFIXES, ImageFile, list_images
from rdp.images.geometry import crop, pad
from rdp.images.hashing import hash_bytes, hash_file, hash_pixels
from rdp.images.read import LoadedImage, load_image, read_image, write_png
from rdp.images.samples import sample_images

__all__ = [
    "IMAGE_SUFFIXES",
    "ImageFile",
    "LoadedImage",
    "crop",
    "hash_bytes",
    "hash_file",
    "hash_pixels",
    "list_images",
    "load_image",
    "pad",
    "read_image",
    "sample_images",
    "write_png",
]
