"""Run folders, written: one writer at a time, rows in batches, every batch a commit."""

from __future__ import annotations

import datetime
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rdp.errors import RunFolderError
from rdp.storage import discard
from rdp.tables.keys import KeyIndex, last_of_each
from rdp.tables.manifest import (
    CELLS,
    FORMAT,
    ROWS_KEPT,
    Manifest,
    Part,
    read_manifest,
    write_error,
    write_json,
    write_manifest,
)
from rdp.tables.run import METRIC, RUN, Run, ScoreSet, read_parts
from rdp.tables.schema import cell_schema, score_schema

if TYPE_CHECKING:
    import pyarrow as pa

FLUSH_S = 2.0
"""Rows are committed at least this often while they come."""

FLUSH_ROWS = 5_000
SMALL_PARTS = 24
"""So many parts of under 128 MB are merged into one: reading must not open thousands of files."""

PART_BYTES = 128 << 20

Row = Mapping[str, Any]


class RunWriter:
    """The one writer of a run folder. A context manager: it locks on entry, commits and unlocks on exit.

    Rows given to `add` are kept until `flush` (called by `add` itself every two seconds) writes them as one Parquet
    part a table and names all of them in the manifest at once, so that a row and its scores appear together.
    """

    def __init__(self, path: str | os.PathLike[str], protocol: Mapping[str, Any]) -> None:
        """Create the folder if needed. Raises `RunFolderError` for another protocol, format, or a folder that holds
        other things."""
        from filelock import FileLock

        self.path = Path(path)
        self._protocol = dict(protocol)
        self._prepare_folder()
        self._lock = FileLock(self.path / ".lock")
        self._document: dict[str, Any] = {}
        self._cells: list[Row] = []
        self._scores: dict[str, list[Row]] = {}
        self._score_sets: dict[str, ScoreSet] = {}
        self._replaces = False
        self._flushed = time.monotonic()

    def _prepare_folder(self) -> None:
        """Refuse what is no run folder, and make an empty one where nothing is."""
        if self.path.exists() and not self.path.is_dir():
            raise RunFolderError(f"{self.path} is a file: name a folder with --out")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(self.path, error) from error
        others = [entry.name for entry in self.path.iterdir() if not entry.name.startswith(".")]
        if others and not (self.path / RUN).exists():
            raise RunFolderError(
                f"{self.path} holds other things ({', '.join(sorted(others)[:3])}) and no run: name another folder"
            )

    def __enter__(self) -> Self:
        from filelock import Timeout

        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise RunFolderError(
                f"another process is writing {self.path}: wait for it, or use another --out"
            ) from error
        except OSError as error:
            raise write_error(self.path, error) from error
        try:
            self._open()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.flush()
            if kind is None:
                self._compact(1)
        finally:
            self._lock.release()

    def _open(self) -> None:
        if not (self.path / RUN).exists():
            self._document = {"format": FORMAT, "protocol": self._protocol, "sessions": []}
            write_json(self.path / RUN, self._document)
        run = Run(self.path)
        for name, wanted in self._protocol.items():
            found = run.protocol.get(name)
            if found != wanted:
                raise RunFolderError(
                    f"{self.path} was made under another protocol: {name} is {found!r} there and {wanted!r} here. "
                    "Use another --out, or the settings of the run."
                )
        self._document = {"format": FORMAT, "protocol": run.protocol, "sessions": run.sessions}
        self._score_sets = {scores.metric: scores for scores in run.score_sets()}
        self.manifest = read_manifest(self.path)
        for table in [name for name in self.manifest.tables if not (self.path / name).exists() and name != CELLS]:
            # The user deleted the scores of a metric, to have them made again.
            self.manifest = self.manifest.without(table)
            write_manifest(self.path, self.manifest)
        self._remove_leftovers()

    def _remove_leftovers(self) -> None:
        """Delete what killed processes left: parts that no manifest names, temporary files."""
        known = {part.file for parts in self.manifest.tables.values() for part in parts}
        for path in [*self.path.glob("cells/*"), *self.path.glob("scores/*/*"), *self.path.glob(".*.tmp")]:
            name = path.relative_to(self.path).as_posix()
            if path.suffix in (".parquet", ".tmp") and name not in known:
                path.unlink(missing_ok=True)

    # ---- sessions and metrics

    @property
    def next_session(self) -> int:
        """The number that the session begun next will have; it stands in every row that the session makes."""
        return len(self._document["sessions"]) + 1

    def begin_session(self, record: Mapping[str, Any]) -> None:
        """Note a call of `evaluate`."""
        started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._document["sessions"].append({"started": started, **record})
        write_json(self.path / RUN, self._document)

    def end_session(self, record: Mapping[str, Any]) -> None:
        """Add to the record of the session that began last."""
        self._document["sessions"][-1].update(record)
        write_json(self.path / RUN, self._document)

    def add_metric(self, scores: ScoreSet) -> None:
        """Declare a metric whose scores will come. Raises `RunFolderError` if the run holds it with other settings."""
        found = self._score_sets.get(scores.metric)
        if found is not None and found.fingerprint != scores.fingerprint:
            changed = sorted(
                k for k in {*found.identity, *scores.identity} if found.identity.get(k) != scores.identity.get(k)
            )
            details = "; ".join(
                f"{k}: {found.identity.get(k)!r} there, {scores.identity.get(k)!r} here" for k in changed
            )
            raise RunFolderError(
                f"{self.path} holds {scores.metric} with other settings ({details}). Use another --out, or delete "
                f"{self.path / found.table} to score all rows again."
            )
        if found is None:
            folder = self.path / scores.table
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise write_error(folder, error) from error
            document: dict[str, Any] = {"columns": list(scores.columns), "identity": dict(scores.identity)}
            if scores.described:
                document["described"] = [asdict(column) for column in scores.described]
            write_json(folder / METRIC, document)
            self._score_sets[scores.metric] = scores

    @property
    def score_sets(self) -> dict[str, ScoreSet]:
        """The metrics of the run by name."""
        return dict(self._score_sets)

    # ---- rows

    def add(self, cell: Row | None, scores: Mapping[str, Row], replaces: bool = False) -> None:
        """Take a cell's row (None where it stands already) and its scores by metric; commit if it is time.

        `replaces` says that the run may hold rows of this key, which the new ones supersede.
        """
        if cell is not None:
            self._cells.append(cell)
        for metric, row in scores.items():
            self._scores.setdefault(metric, []).append(row)
        self._replaces |= replaces
        if len(self._cells) >= FLUSH_ROWS or time.monotonic() - self._flushed >= FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Commit all rows taken so far. Raises `RunFolderError` if the disk refuses them; they stay taken."""
        pending: dict[str, pa.Table] = {}
        if self._cells:
            pending[CELLS] = _to_table(self._cells, cell_schema())
        for metric, rows in self._scores.items():
            scores = self._score_sets[metric]
            pending[scores.table] = _to_table(rows, score_schema(scores.columns))
        if pending:
            added = {table: self._write_part(table, rows, self._replaces) for table, rows in pending.items()}
            manifest = self.manifest.with_parts(added)
            write_manifest(self.path, manifest)
            self.manifest = manifest
            self._cells, self._scores, self._replaces = [], {}, False
            self._compact(SMALL_PARTS)
        self._flushed = time.monotonic()

    def _write_part(self, table: str, rows: pa.Table, replaces: bool) -> Part:
        import pyarrow.parquet as pq

        file = f"{table}/{uuid.uuid4().hex}.parquet"
        path = self.path / file
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as stream:
                pq.write_table(rows, stream, compression="zstd")
                stream.flush()
                os.fsync(stream.fileno())
            return Part(file, rows.num_rows, path.stat().st_size, replaces)
        except OSError as error:
            discard(path)
            raise write_error(path, error, ROWS_KEPT) from error

    def _compact(self, most: int) -> None:
        """Merge a table's small parts, if there are more than `most`, dropping rows that later ones replaced."""
        for table, parts in self.manifest.tables.items():
            small = _within(PART_BYTES, parts)
            if len(small) > most or (most == 1 and any(part.replaces for part in parts)):
                self._merge(table, parts, small)

    def _merge(self, table: str, parts: Sequence[Part], small: Sequence[Part]) -> None:
        import numpy as np

        if any(part.replaces for part in parts):
            small = parts  # the rows that were replaced may stand in any part
        schema = cell_schema() if table == CELLS else score_schema(self._columns_of(table))
        rows = read_parts(self.path, small, schema)
        last = last_of_each(KeyIndex.of([rows]).codes(rows))
        merged = self._write_part(table, rows.take(np.sort(last)), replaces=False)
        kept = tuple(part for part in parts if part not in small)
        manifest: Manifest = self.manifest.replacing(table, (*kept, merged))
        write_manifest(self.path, manifest)
        self.manifest = manifest
        for part in small:
            (self.path / part.file).unlink(missing_ok=True)

    def _columns_of(self, table: str) -> tuple[str, ...]:
        return next(scores.columns for scores in self._score_sets.values() if scores.table == table)


def _within(nbytes: int, parts: Sequence[Part]) -> list[Part]:
    """The smallest parts that together stay within `nbytes`, in their order."""
    chosen: set[str] = set()
    for part in sorted(parts, key=lambda part: part.nbytes):
        nbytes -= part.nbytes
        if nbytes < 0:
            break
        chosen.add(part.file)
    return [part for part in parts if part.file in chosen]


def _to_table(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    columns = {name: [row.get(name) for row in rows] for name in schema.names}
    return pa.table(columns, schema=schema)
