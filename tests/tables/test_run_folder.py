"""Run folders: commits, resumption, damage, and one writer at a time."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdp.errors import RunFolderError
from rdp.tables import RunWriter, ScoreSet, open_run
from rdp.tables import writer as writer_module

PROTOCOL = {"version": 1, "exif": "ignore"}
MSE = ScoreSet("mse", "aaaaaaaaaaaa", ("mse",), {"name": "mse", "version": 1})


def cell(image: str, point: str, **values: object) -> dict[str, object]:
    return {"dataset": "d", "image": image, "point": point, "status": "ok", "nbytes": 10, "bpp": 0.5, **values}


def score(image: str, point: str, mse: float | None, message: str | None = None) -> dict[str, object]:
    return {"dataset": "d", "image": image, "point": point, "mse": mse, "message": message}


def write(folder: Path, rows: list[tuple[str, str, float]], **values: object) -> None:
    with RunWriter(folder, PROTOCOL) as writer:
        writer.add_metric(MSE)
        for image, point, mse in rows:
            writer.add(cell(image, point, **values), {"mse": score(image, point, mse)})


def test_rows_come_back_with_their_scores_sorted_by_key(tmp_path: Path) -> None:
    write(tmp_path / "run", [("b", "p", 2.0), ("a", "q", 3.0), ("a", "p", 1.0)])
    table = open_run(tmp_path / "run").table()
    assert table.data.column("image").to_pylist() == ["a", "a", "b"]
    assert table.numpy("mse").tolist() == [1.0, 3.0, 2.0]
    assert table.numpy("nbytes").tolist() == [10, 10, 10]


def test_a_metric_added_later_joins_the_rows_that_have_it(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    write(folder, [("a", "p", 1.0), ("b", "p", 2.0)])
    psnr = ScoreSet("psnr", "bbbbbbbbbbbb", ("psnr",), {"name": "psnr"})
    with RunWriter(folder, PROTOCOL) as writer:
        writer.add_metric(psnr)
        row = {"dataset": "d", "image": "b", "point": "p", "psnr": 30.0, "message": None}
        writer.add(None, {"psnr": row})
    table = open_run(folder).table()
    assert np.isnan(table.numpy("psnr")[0]) and table.numpy("psnr")[1] == 30.0
    assert table.numpy("mse").tolist() == [1.0, 2.0]


def test_a_row_made_anew_replaces_the_old_one(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    write(folder, [("a", "p", 1.0), ("b", "p", 2.0)])
    with RunWriter(folder, PROTOCOL) as writer:
        writer.add_metric(MSE)
        writer.add(cell("a", "p", nbytes=99), {"mse": score("a", "p", 7.0)}, replaces=True)
    table = open_run(folder).table()
    assert table.numpy("nbytes").tolist() == [99, 10] and table.numpy("mse").tolist() == [7.0, 2.0]
    # A new writing session compacts: one part a table, without the old row.
    manifest = json.loads((folder / "manifest.json").read_text())
    assert [[part["rows"] for part in parts] for parts in manifest["tables"].values()] == [[2], [2]]


def test_what_no_manifest_names_does_not_count_and_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    write(folder, [("a", "p", 1.0)])
    part = next((folder / "cells").glob("*.parquet"))
    (folder / "cells" / "left-over.parquet").write_bytes(part.read_bytes())
    (folder / "cells" / "half.parquet").write_bytes(part.read_bytes()[:100])
    (folder / ".manifest.json.1234.tmp").write_text("{")
    assert len(open_run(folder).table()) == 1
    with RunWriter(folder, PROTOCOL):
        pass
    assert [path.name for path in (folder / "cells").iterdir()] == [part.name]
    assert not list(folder.glob("*.tmp"))


def test_an_interrupted_writer_keeps_what_it_had(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt), RunWriter(folder, PROTOCOL) as writer:
        writer.add_metric(MSE)
        writer.add(cell("a", "p"), {"mse": score("a", "p", 1.0)})
        raise KeyboardInterrupt
    assert len(open_run(folder).table()) == 1


def test_many_small_parts_become_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "FLUSH_ROWS", 1)
    folder = tmp_path / "run"
    write(folder, [(f"{k:04}", "p", float(k)) for k in range(100)])
    assert len(list((folder / "cells").glob("*.parquet"))) == 1
    assert open_run(folder).table().numpy("mse").tolist() == list(range(100))


keys = st.tuples(st.sampled_from("abc"), st.sampled_from("pq"))


@settings(max_examples=40, deadline=None)
@given(sessions=st.lists(st.lists(st.tuples(keys, st.integers(0, 9)), max_size=6), max_size=5))
def test_the_table_is_the_last_word_on_every_key(sessions, tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("runs") / "run"
    expected: dict[tuple[str, str], int] = {}
    for session in sessions:
        with RunWriter(folder, PROTOCOL) as writer:
            writer.add_metric(MSE)
            for (image, point), value in session:
                replaces = (image, point) in expected
                writer.add(cell(image, point, nbytes=value), {"mse": score(image, point, value)}, replaces)
                expected[image, point] = value
                if value > 6:
                    writer.flush()
    if not sessions:
        return
    table = open_run(folder).table()
    found = zip(table.data.column("image").to_pylist(), table.data.column("point").to_pylist(), strict=True)
    assert dict(zip(found, table.data.column("nbytes").to_pylist(), strict=True)) == expected
    if expected:
        assert table.numpy("mse").tolist() == [expected[key] for key in sorted(expected)]


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with (
        RunWriter(folder, PROTOCOL),
        pytest.raises(RunFolderError, match="another process is writing"),
        RunWriter(folder, PROTOCOL),
    ):
        pass
    with RunWriter(folder, PROTOCOL):
        pass


def test_another_protocol_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "run", [("a", "p", 1.0)])
    with (
        pytest.raises(RunFolderError, match="another protocol: exif is 'ignore' there and 'apply' here"),
        RunWriter(tmp_path / "run", {**PROTOCOL, "exif": "apply"}),
    ):
        pass
    with pytest.raises(RunFolderError, match="version is 1"), RunWriter(tmp_path / "run", {**PROTOCOL, "version": 2}):
        pass


def test_another_format_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    write(folder, [("a", "p", 1.0)])
    for name in ("manifest.json", "run.json"):
        document = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**document, "format": 99}))
        with pytest.raises(RunFolderError, match="format 99"):
            open_run(folder).table()


def test_a_metric_with_other_settings_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "run", [("a", "p", 1.0)])
    other = ScoreSet("mse", "cccccccccccc", ("mse",), {"name": "mse", "version": 2})
    with (
        RunWriter(tmp_path / "run", PROTOCOL) as writer,
        pytest.raises(RunFolderError, match="other settings.*version: 1 there, 2 here"),
    ):
        writer.add_metric(other)


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(RunFolderError, match=r"holds other things \(thesis.tex\)"):
        RunWriter(tmp_path, PROTOCOL)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.write_text("x")
    with pytest.raises(RunFolderError, match="is a file"):
        RunWriter(path, PROTOCOL)


def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunFolderError, match="cannot write"):
        RunWriter(tmp_path / "file" / "run", PROTOCOL)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda run: (run / "run.json").unlink(), "no run.json"),
        (lambda run: (run / "run.json").write_text("{"), "damaged"),
        (lambda run: (run / "manifest.json").write_text("[]"), "damaged"),
        (lambda run: next((run / "cells").glob("*.parquet")).write_bytes(b"x"), "damaged"),
        (lambda run: next((run / "cells").glob("*.parquet")).unlink(), "missing"),
        (lambda run: (run / "scores" / "mse@aaaaaaaaaaaa" / "metric.json").unlink(), "missing"),
    ],
)
def test_damage_is_named(damage, words: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    write(run, [("a", "p", 1.0)])
    damage(run)
    with pytest.raises(RunFolderError, match=words):
        open_run(run).table()


def test_what_is_no_run_folder_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="not a run folder.*rdp evaluate"):
        open_run(tmp_path)
    with pytest.raises(RunFolderError, match="does not exist"):
        open_run(tmp_path / "none")


def test_opening_reads_no_rows(tmp_path: Path) -> None:
    """A run of any size opens at once: even one whose parts are all gone."""
    run = tmp_path / "run"
    write(run, [("a", "p", 1.0)])
    for part in run.rglob("*.parquet"):
        part.unlink()
    assert open_run(run).protocol == PROTOCOL
    assert [scores.metric for scores in open_run(run).score_sets()] == ["mse"]
