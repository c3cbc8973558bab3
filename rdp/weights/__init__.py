"""Files of network weights: the index, where they lie on this machine, and verified download. No torch here."""

from __future__ import annotations

from rdp.weights.index import (
    WeightsEntry,
    entries_used_by,
    find_entries,
    find_entry,
    group_sets,
    load_index,
    pretrained_folder,
    span,
)
from rdp.weights.local import (
    WeightsFile,
    cache_folder,
    locate,
    resolve,
    resolve_first,
    reverify,
    search_folders,
    sha256_of,
    size_problem,
    verify,
)
from rdp.weights.status import WeightsStatus, list_weights, look_at, verify_weights

__all__ = [
    "WeightsEntry",
    "WeightsFile",
    "WeightsStatus",
    "cache_folder",
    "entries_used_by",
    "find_entries",
    "find_entry",
    "group_sets",
    "list_weights",
    "load_index",
    "locate",
    "look_at",
    "pretrained_folder",
    "resolve",
    "resolve_first",
    "reverify",
    "search_folders",
    "sha256_of",
    "size_problem",
    "span",
    "verify",
    "verify_weights",
]
