"""The answer of a streamed solve on the disk: the chosen points as Parquet, and a document beside them.

version      1
status, solver, elapsed_s, rdp_version, memory, peak_memory, nbytes_read, in_order, passes, left_open
problem      source, statement (the words of `rdp solve`), images (how many), points (all names)
objective    column, goal, weighting, average, bound, gap, allowed_gap
budgets      one object each: column, sense, budget, weighting, average, slack, price, sentence
averages     one object a column that was used: column, weighting, average
counts       point -> number of images that take it; null without a selection
chosen_file  name of the Parquet file with the columns dataset, image and point; null without one
explanation, warnings
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

import rdp
from rdp.errors import TableError
from rdp.selection.document import json_text, number
from rdp.tables import write_atomically
from rdp.tables.manifest import write_error

if TYPE_CHECKING:
    import pyarrow as pa

    from rdp.selection.streaming.selection import StreamedSelection

VERSION = 1
GROUP_IMAGES = 1 << 17
"""Images of a row group: few enough to be held, many enough to be read fast."""


def streamed_document(selection: StreamedSelection) -> dict[str, Any]:
    """The document, ready for `json.dumps(..., allow_nan=False)`."""
    statement = selection.statement
    return {
        "version": VERSION,
        "rdp_version": rdp.__version__,
        "status": selection.status.value,
        "solver": selection.solver,
        "elapsed_s": round(selection.elapsed_s, 6),
        "memory": selection.memory,
        "peak_memory": selection.peak_memory,
        "nbytes_read": selection.nbytes_read,
        "in_order": selection.in_order,
        "passes": selection.passes,
        "left_open": selection.left_open,
        "problem": {
            "source": selection.source,
            "statement": statement.to_dict(),
            "images": selection.images,
            "points": list(selection.points),
        },
        "objective": {
            "column": statement.objective,
            "goal": statement.goal,
            "weighting": statement.weights.get(statement.objective, "images"),
            **number("average", selection.objective),
            **number("bound", selection.bound),
            **number("gap", selection.gap),
            "allowed_gap": selection.allowed_gap,
        },
        "budgets": [
            {
                "column": budget.column,
                "sense": budget.sense,
                "budget": budget.budget,
                "weighting": budget.weighting,
                **number("average", budget.average),
                **number("slack", budget.slack),
                **number("price", budget.price),
                "sentence": budget.sentence,
            }
            for budget in selection.budgets
        ],
        "averages": [
            {"column": column, "weighting": statement.weights.get(column, "images"), **number("average", average)}
            for column, average in selection.averages.items()
        ],
        "counts": None if selection.counts is None else dict(selection.counts),
        "chosen_file": None if selection.chosen_file is None else selection.chosen_file.name,
        "explanation": selection.explanation,
        "warnings": list(selection.warnings),
    }


def streamed_text(selection: StreamedSelection) -> str:
    """The document as JSON text, ending with a line feed."""
    return json_text(streamed_document(selection))


class ChosenWriter:
    """Writes chosen points image by image; a context manager, after which the file is there completely or not at all.

    Raises `RdpError` where it cannot be written.
    """

    def __init__(self, path: Path, points: tuple[str, ...]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.path = path
        self._points = pa.array(points, pa.string())
        self._document: bytes | None = None
        self._temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
        point = pa.dictionary(pa.int32(), pa.string())
        self._schema = pa.schema([("dataset", pa.string()), ("image", pa.string()), ("point", point)])
        self._waiting: list[pa.RecordBatch] = []
        self._count = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # A dictionary of the images' names, which are all different, would only cost time.
            self._stream = self._temporary.open("wb")
            self._writer = pq.ParquetWriter(
                self._stream, self._schema, compression="zstd", use_dictionary=["dataset", "point"]
            )
        except OSError as error:
            raise write_error(path, error) from error

    def __enter__(self) -> Self:
        return self

    def add(self, names: tuple[pa.Array, pa.Array], choice: np.ndarray) -> None:
        """The datasets and names of some images, and the numbers (n,) of their points."""
        import pyarrow as pa

        point = pa.DictionaryArray.from_arrays(pa.array(choice.astype(np.int32)), self._points)
        self._waiting.append(pa.record_batch([*names, point], schema=self._schema))
        self._count += len(choice)
        if self._count >= GROUP_IMAGES:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._waiting:
            try:
                self._writer.write_table(pa.Table.from_batches(self._waiting, self._schema))
            except OSError as error:
                raise write_error(self.path, error) from error
        self._waiting, self._count = [], 0

    def document(self, selection: StreamedSelection) -> None:
        """The document to write beside, under the same name with the suffix .json."""
        self._document = streamed_text(selection).encode()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._flush()
            self._writer.close()
            if kind is not None:
                return
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self._stream.close()
            if self._document is None:
                raise TableError(f"{self.path} was not completed: a bug in rdp")
            self._temporary.replace(self.path)
            write_atomically(self.path.with_suffix(".json"), self._document)
        except OSError as failure:
            raise write_error(self.path, failure) from failure
        finally:
            self._stream.close()
            self._temporary.unlink(missing_ok=True)
