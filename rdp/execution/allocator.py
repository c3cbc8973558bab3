"""Memory that a worker process keeps instead of giving it back after every image."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_KEPT = 32 << 20
_KEPT_FREE = 256 << 20


def keep_freed_memory(most: int = _KEPT_FREE) -> bool:
    """Make this process's allocator keep freed blocks of up to 32 MiB, `most` bytes of them; whether it could.

    An image's tensors are as large as the next image's. The usual settings give them back to the system and fetch
    them again, page by page: a tenth of the time of a learned codec. For worker processes that are ours; not for a
    user's process, whose memory is his business. Only glibc has these settings.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT) and mallopt(_M_TRIM_THRESHOLD, most))
