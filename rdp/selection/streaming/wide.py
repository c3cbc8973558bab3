"""Cells as arrays (images, points) in one Arrow file: what passes read when the rows had to be put in order."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from rdp.selection.problem import BoolArray, IntArray
from rdp.selection.solver.blocks import BLOCK_CELLS
from rdp.selection.streaming.cells import FLAG, CellReader, Cells
from rdp.selection.streaming.rows import ahead

if TYPE_CHECKING:
    import pyarrow as pa

KNOWN, FAILED = "known", "failed"


class WideWriter:
    """Writes the file, `BLOCK_CELLS` at a time however the images come; a context manager."""

    def __init__(self, path: Path, points: int, columns: Sequence[str]) -> None:
        import pyarrow as pa

        self.path = path
        self.images = 0
        self.sizes: list[int] = []
        mask, values = pa.list_(pa.bool_(), points), pa.list_(pa.float64(), points)
        fields = [("dataset", pa.string()), ("image", pa.string()), (KNOWN, mask), (FAILED, mask)]
        for name in columns:
            fields += [(f"={name}", mask if name == FLAG else values), (f"?{name}", mask)]
        self._points = points
        self._step = max(BLOCK_CELLS // points, 1)
        self._waiting: pa.RecordBatch | None = None
        self._schema = pa.schema(fields)
        self._writer = pa.ipc.new_file(str(path), self._schema)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._waiting is not None and self._waiting.num_rows:
                self._write(self._waiting)
        finally:
            self._writer.close()

    def add(
        self,
        names: tuple[pa.Array, pa.Array],
        arrays: Mapping[str, tuple[Any, BoolArray]],
        known: BoolArray,
        failed: BoolArray,
    ) -> None:
        """Write some images: their datasets and names, and by column values (n, M) and where there are some."""
        import pyarrow as pa

        def listed(array: Any) -> pa.Array:
            return pa.FixedSizeListArray.from_arrays(pa.array(array.ravel()), self._points)

        columns = {"dataset": names[0], "image": names[1], KNOWN: listed(known), FAILED: listed(failed)}
        for name, (values, there) in arrays.items():
            columns |= {f"={name}": listed(values), f"?{name}": listed(there)}
        batch = pa.record_batch([columns[name] for name in self._schema.names], schema=self._schema)
        self.images += len(known)
        if self._waiting is not None and self._waiting.num_rows:
            both = pa.Table.from_batches([self._waiting, batch]).combine_chunks()
            batch = both.to_batches()[0]
        whole = len(batch) - len(batch) % self._step
        for start in range(0, whole, self._step):
            self._write(batch.slice(start, self._step))
        # A copy, so that the rest of the batch can go.
        self._waiting = batch.take(pa.array(np.arange(whole, len(batch))))

    def _write(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch)
        self.sizes.append(batch.num_rows)

    def file(self, source: str) -> WideFile:
        """The file, written."""
        return WideFile(self.path, source, np.cumsum([0, *self.sizes]), self._schema, self._points)


class WideFile:
    """The file: images `starts[k]` to `starts[k + 1]` in batch k."""

    def __init__(self, path: Path, source: str, starts: IntArray, schema: pa.Schema, points: int) -> None:
        self.path = path
        self.source = source
        self.starts = starts
        self.schema = schema
        self.points = points


class WideReader(CellReader):
    """Cells from such a file, at the points whose numbers are `kept` (M,)."""

    def __init__(self, file: WideFile, kept: IntArray) -> None:
        self.source = file.source
        self.images = int(file.starts[-1])
        self._file = file
        self._kept = None if len(kept) == file.points else kept
        self._read = 0

    @property
    def nbytes(self) -> int:
        """See `CellReader`."""
        return self._read

    def cheap_starts(self) -> list[int]:
        """See `CellReader`: where batches begin."""
        return [int(start) for start in self._file.starts[:-1]]

    def cells(
        self, columns: Sequence[str], first: int = 0, last: int | None = None, names: bool = False
    ) -> Generator[Cells]:
        """See `CellReader`."""
        last = self.images if last is None else min(last, self.images)
        return ahead(self._cells(columns, first, last, names))

    def _cells(self, columns: Sequence[str], first: int, last: int, names: bool) -> Generator[Cells]:
        import pyarrow as pa

        fields = [KNOWN, FAILED, *(["dataset", "image"] if names else [])]
        fields += [f"{mark}{name}" for name in columns for mark in "=?"]
        places = sorted(self._file.schema.get_field_index(field) for field in fields)
        options = pa.ipc.IpcReadOptions(included_fields=places, use_threads=False)
        starts = self._file.starts
        with pa.OSFile(str(self._file.path)) as stream:
            reader = pa.ipc.open_file(stream, options=options)
            for k in range(int(np.searchsorted(starts, first, "right")) - 1, len(starts) - 1):
                begin, end = int(starts[k]), int(starts[k + 1])
                if begin >= last:
                    return
                batch = reader.get_batch(k)
                self._read += batch.nbytes
                low, high = max(first, begin), min(last, end)
                if low < high:
                    yield self._as_cells(batch.slice(low - begin, high - low), low, columns, names)

    def _as_cells(self, batch: pa.RecordBatch, first: int, columns: Sequence[str], names: bool) -> Cells:
        def array(name: str) -> Any:
            values = batch.column(name).flatten().to_numpy(zero_copy_only=False).reshape(batch.num_rows, -1)
            return values if self._kept is None else values[:, self._kept]

        def mask(name: str) -> BoolArray | None:
            values: BoolArray = array(name)
            return None if values.all() else values

        numeric = [name for name in columns if name != FLAG]
        failed = array(FAILED)
        return Cells(
            first,
            batch.num_rows,
            {name: array(f"={name}") for name in numeric},
            {name: mask(f"?{name}") for name in numeric},
            mask(KNOWN),
            failed if failed.any() else None,
            array(f"={FLAG}") if FLAG in columns else None,
            (_copied(batch.column("dataset")), _copied(batch.column("image"))) if names else None,
        )


def _copied(names: pa.Array) -> pa.Array:
    """The names without the batch that they came with, which they would keep in memory."""
    import pyarrow as pa

    return names.take(pa.array(np.arange(len(names))))
