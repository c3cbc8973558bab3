"""A table that need not fit in memory, solved by streaming its Parquet files: time as a multiple of one read, and peak.

    python benchmarks/streamed.py [--images 1000000] [--points 10] [--memory 2GB] [--gap 1e-6] [--run] [--scattered]

The table comes from ../shared/tools/synthetic_table.py, block by block, and is written to a temporary Parquet file, or
with --run to the parts of a run folder. The limit is one plain read of the columns that are needed, names included,
with pyarrow in batches; `solve_streamed` runs in a fresh process, with two budgets, and writes the chosen points.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rdp.selection.streaming.memory import parse_memory, size_text
from rdp.tables import ScoreSet
from rdp.tables.manifest import CELLS, FORMAT, Manifest, Part, write_json, write_manifest
from rdp.tables.run import METRIC, RUN
from rdp.tables.schema import cell_schema, score_schema

TOOL = Path(__file__).resolve().parents[2] / "shared" / "tools" / "synthetic_table.py"
BLOCK = 100_000
METRICS = {"mse": 1, "lpips_alex": 2}
SOLVE = """
import json, sys
from rdp.selection.statement import Statement
from rdp.selection.streaming.verb import solve_streamed
path, memory, gap, budgets, out = sys.argv[1:6]
statement = Statement.of(minimize="mse", at_most=json.loads(budgets))
print(json.dumps(solve_streamed(path, statement, memory=memory, gap=float(gap), out=out).to_dict()))
"""


def tool() -> ModuleType:
    """The generator."""
    spec = importlib.util.spec_from_file_location("synthetic_table", TOOL)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{TOOL} is not there")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def blocks(images: int, points: int, scattered: bool) -> Iterator[dict[str, Any]]:
    """Columns of some images at a time; every block has a seed of its own."""
    table = tool().table
    names = pa.array([f"webp:quality={5 + 9 * j},method=4" for j in range(points)])
    for number, first in enumerate(range(0, images, BLOCK)):
        count = min(BLOCK, images - first)
        rate, error, distance = table(count, points, seed=number)
        image = pa.array([f"folder/image{k:08}.png" for k in range(first, first + count)])
        owner, point = np.repeat(np.arange(count), points), np.tile(np.arange(points), count)
        order = np.random.default_rng(number).permutation(len(owner)) if scattered else slice(None)
        yield {
            "image": image.take(pa.array(owner[order])),
            "point": names.take(pa.array(point[order])),
            "bpp": rate.ravel()[order],
            "mse": error.ravel()[order],
            "lpips_alex": distance.ravel()[order],
        }


def write_file(path: Path, images: int, points: int, scattered: bool) -> list[tuple[Path, list[str]]]:
    """One Parquet file; the files to read, each with the columns that are needed."""
    writer = None
    for block in blocks(images, points, scattered):
        table = pa.table(block)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()
    return [(path, ["image", "point", "bpp", "mse", "lpips_alex"])]


def write_run(path: Path, images: int, points: int, scattered: bool) -> list[tuple[Path, list[str]]]:
    """A run folder with one part a block in every table."""
    sets = {name: ScoreSet(name, "0" * 12, (name,), {"name": name}) for name in METRICS}
    path.mkdir()
    write_json(path / RUN, {"format": FORMAT, "protocol": {"version": 1}, "sessions": []})
    tables: dict[str, list[Part]] = {CELLS: [], **{scores.table: [] for scores in sets.values()}}
    reads = []
    for table in tables:
        (path / table).mkdir(parents=True)
    for scores in sets.values():
        write_json(path / scores.table / METRIC, {"columns": list(scores.columns), "identity": dict(scores.identity)})
    for number, block in enumerate(blocks(images, points, scattered)):
        rows = len(block["bpp"])
        keys = {"dataset": pa.repeat("synthetic", rows), "image": block["image"], "point": block["point"]}
        cells = {**keys, "bpp": block["bpp"], "status": pa.repeat("ok", rows)}
        whole = {CELLS: (cells, cell_schema(), [*keys, "bpp", "status"])}
        for name, scores in sets.items():
            whole[scores.table] = ({**keys, name: block[name]}, score_schema([name]), [*keys, name])
        for table, (columns, schema, needed) in whole.items():
            arrays = [pa.array(columns[f.name]) if f.name in columns else pa.nulls(rows, f.type) for f in schema]
            file = f"{table}/{number:06}.parquet"
            pq.write_table(pa.table(arrays, schema=schema), path / file, compression="zstd")
            tables[table].append(Part(file, rows, (path / file).stat().st_size))
            reads.append((path / file, needed))
    write_manifest(path, Manifest({table: tuple(parts) for table, parts in tables.items()}))
    return reads


def read_once(files: list[tuple[Path, list[str]]]) -> float:
    """Seconds of one pass over the needed columns, with nothing done to them."""
    begin = time.perf_counter()
    for path, columns in files:
        names = pq.read_schema(path).names
        few = [name for name in ("dataset", "point", "status") if name in names]
        file = pq.ParquetFile(path, read_dictionary=few, buffer_size=1 << 20, pre_buffer=False)
        for _ in file.iter_batches(batch_size=1 << 16, columns=columns):
            pass
    return time.perf_counter() - begin


def budgets(points: int) -> dict[str, float]:
    """Two budgets that bind, from the first block."""
    module = tool()
    rate, _, distance = module.table(BLOCK, points, seed=0)
    most, least = module.budgets(rate, distance)
    return {"bpp": 0.97 * most, "lpips_alex": 0.97 * least}


def main() -> None:
    """Write, read, solve, print; the exit code is 1 when the peak is over the memory or the gap is not reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--points", type=int, default=10)
    parser.add_argument("--memory", default="2GB")
    parser.add_argument("--gap", default="1e-6")
    parser.add_argument("--run", action="store_true", help="a run folder in place of one file")
    parser.add_argument("--scattered", action="store_true", help="rows in no order within each 100,000 images")
    parser.add_argument("--folder", help="where the temporary files go")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / ("run" if options.run else "table.parquet")
        begin = time.perf_counter()
        files = (write_run if options.run else write_file)(path, options.images, options.points, options.scattered)
        size = sum(file.stat().st_size for file, _ in files)
        print(
            f"{options.images} images x {options.points} points, {size_text(size)} of Parquet, "
            f"{'a run folder' if options.run else 'one file'}{', scattered' if options.scattered else ''}; "
            f"written in {time.perf_counter() - begin:.0f} s"
        )
        read_once(files)
        reads = sorted(read_once(files) for _ in range(3))
        limits = json.dumps(budgets(options.points))
        command = [sys.executable, "-c", SOLVE, str(path), options.memory, options.gap, limits]
        done = subprocess.run(
            [*command, str(Path(folder) / "chosen.parquet")], capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(done.stderr)
        answer = json.loads(done.stdout)
    seconds, gap, peak = answer["elapsed_s"], answer["objective"]["gap"], answer["peak_memory"]
    print(f"one read of the needed columns: {reads[1]:.2f} s ({reads[0]:.2f} to {reads[2]:.2f})")
    print(f"solved and written: {seconds:.2f} s, {seconds / reads[1]:.1f} times one read")
    print(f"status {answer['status']}, gap {gap}, {answer['passes']} pass, {answer['left_open']} images left open")
    print(
        f"peak memory {size_text(peak)} of {options.memory}; bytes read {answer['nbytes_read'] / size:.2f} of the file"
    )
    sys.exit(0 if answer["status"] == "optimal" and peak <= parse_memory(options.memory) else 1)


if __name__ == "__main__":
    main()
