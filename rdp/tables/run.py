"""Run folders, read: the rows that `evaluate` made, with where they come from.

run.json         format, protocol, and one record a call of `evaluate` (versions, machine, options, times)
manifest.json    the Parquet parts that count
images.parquet   what the inspection of the image files found
cells/           one row a (dataset, image, point): rate, hashes, times, status
scores/<metric>@<fingerprint>/   one row a cell that was scored; metric.json says what the fingerprint stands for
objects/ab/ab…   encoded files by SHA-256, and reconstructions as .png by the SHA-256 of their pixels
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdp.columns import KEY_COLUMNS, Column
from rdp.errors import RunFolderError
from rdp.tables.keys import KeyIndex, last_of_each, positions_of
from rdp.tables.manifest import CELLS, MANIFEST, Part, check_format, read_json, read_manifest
from rdp.tables.objects import object_path
from rdp.tables.schema import cell_schema, score_schema
from rdp.tables.table import CellTable

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

RUN = "run.json"
SCORES = "scores"
METRIC = "metric.json"


@dataclass(frozen=True)
class ScoreSet:
    """The scores of one metric in a run: its name, fingerprint, columns, and what the fingerprint stands for.

    `described` says what those columns are that `rdp.columns` does not list.
    """

    metric: str
    fingerprint: str
    columns: tuple[str, ...]
    identity: Mapping[str, Any]
    described: tuple[Column, ...] = ()

    @property
    def table(self) -> str:
        return f"{SCORES}/{self.metric}@{self.fingerprint}"


class Run:
    """A run folder, open for reading. Opening reads two small JSON files, whatever the number of rows."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Raises `RunFolderError` if the folder is missing, is no run folder, or has another format version."""
        self.path = Path(path)
        document = read_json(self.path / RUN) if self.path.is_dir() else None
        if document is None:
            what = "has no run.json, so it is not a run folder" if self.path.is_dir() else "does not exist"
            raise RunFolderError(
                f"{self.path} {what}: `rdp evaluate IMAGES --codec … --metric … --out {self.path}` makes one"
            )
        check_format(self.path / RUN, document)
        self._document = document

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def protocol(self) -> dict[str, Any]:
        """The evaluation protocol under which all rows were made."""
        return dict(self._document.get("protocol", {}))

    @property
    def sessions(self) -> list[dict[str, Any]]:
        """One record for each call of `evaluate`, in order: versions, machine, options, seconds spent."""
        return list(self._document.get("sessions", []))

    def score_sets(self) -> list[ScoreSet]:
        """The metrics that the run holds scores of."""
        sets = []
        for table in read_manifest(self.path).tables:
            if table == CELLS:
                continue
            if not (self.path / table).exists():
                continue  # removed by the user, so that the metric is scored again
            identity = read_json(self.path / table / METRIC)
            if identity is None:
                raise RunFolderError(f"{self.path / table / METRIC} is missing: restore it from a copy")
            name, _, fingerprint = table.removeprefix(SCORES + "/").rpartition("@")
            described = tuple(Column(**column) for column in identity.get("described", ()))
            sets.append(ScoreSet(name, fingerprint, tuple(identity["columns"]), identity["identity"], described))
        return sets

    @property
    def described(self) -> dict[str, Column]:
        """The columns of its metrics that `rdp.columns` does not list, by name."""
        return {column.name: column for scores in self.score_sets() for column in scores.described}

    def object_path(self, sha256: str, suffix: str = "") -> Path:
        """Where a kept file or reconstruction (`suffix=".png"`) lies, or would lie."""
        return object_path(self.path, sha256, suffix)

    def table(self) -> CellTable:
        """All rows with the scores of all metrics, sorted by key; a score that is missing is null."""
        return CellTable(self._read(), str(self.path), self.described)

    def to_pandas(self) -> pd.DataFrame:
        """All rows as a DataFrame: one row a (dataset, image, point)."""
        return self.table().to_pandas()

    def _read(self) -> pa.Table:
        """Read under a manifest; once more if a compaction removed a part between reading one and the other."""
        try:
            return self._read_once()
        except FileNotFoundError:
            try:
                return self._read_once()
            except FileNotFoundError as error:
                raise RunFolderError(
                    f"{self.path / MANIFEST} names {error.filename}, which is missing: restore it from a copy"
                ) from error

    def _read_once(self) -> pa.Table:
        manifest = read_manifest(self.path)
        cells = read_parts(self.path, manifest.parts(CELLS), cell_schema())
        index = KeyIndex.of([cells])
        codes = index.codes(cells)
        rows = last_of_each(codes)
        cells, codes = cells.take(rows), codes[rows]
        for scores in self.score_sets():
            table = read_parts(self.path, manifest.parts(scores.table), score_schema(scores.columns))
            cells = _join(cells, codes, table, index, scores.columns)
        return cells


def open_run(path: str | os.PathLike[str]) -> Run:
    """Open a run folder for reading. Raises `RunFolderError`."""
    return Run(path)


def read_parts(folder: Path, parts: Sequence[Part], schema: pa.Schema) -> pa.Table:
    """The rows of some parts under an explicit schema, in order; columns that a part lacks are null."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = [schema.empty_table()]
    for part in parts:
        path = folder / part.file
        try:
            table = pq.ParquetFile(path, memory_map=False).read()
        except FileNotFoundError as error:
            raise FileNotFoundError(2, "missing part", str(path)) from error
        except (pa.ArrowInvalid, OSError) as error:
            raise RunFolderError(f"{path} is damaged ({error}): restore it from a copy of the run") from error
        tables.append(_conform(table, schema))
    return pa.concat_tables(tables)


def _conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    columns = [
        table.column(f.name).cast(f.type) if f.name in table.column_names else pa.nulls(table.num_rows, f.type)
        for f in schema
    ]
    return pa.table(columns, schema=schema)


def _join(cells: pa.Table, codes: Any, scores: pa.Table, index: KeyIndex, columns: Sequence[str]) -> pa.Table:
    """Cells with a metric's columns; of several scores of one key the last counts."""
    import pyarrow as pa

    score_codes = index.codes(scores)
    rows = last_of_each(score_codes)
    place = positions_of(codes, score_codes[rows])
    chosen = pa.array([-1] if len(rows) == 0 else rows).take(pa.array(place, mask=place < 0)) if len(rows) else None
    for name in columns:
        values = pa.nulls(cells.num_rows, pa.float64()) if chosen is None else scores.column(name).take(chosen)
        cells = cells.append_column(name, values)
    return cells


def key_rows(table: pa.Table) -> list[tuple[str, str, str]]:
    """The keys of a table's rows as tuples."""
    dataset, image, point = (table.column(name).to_pylist() for name in KEY_COLUMNS)
    return list(zip(dataset, image, point, strict=True))
