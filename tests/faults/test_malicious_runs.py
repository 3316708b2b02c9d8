"""Run directories that someone else has made: names, links, markup and weights in them run nothing and lead nowhere.

Every payload would leave a mark: a file `ran`, a changed file of the user's, or markup in what is written.
"""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from nasrun.checkpoints.archive import ArchiveError
from nasrun.checkpoints.archive import load as load_archive
from nasrun.checkpoints.store import load_weights
from nasrun.spaces.sections import make_space
from nasrun.storage import journal
from nasrun.storage.journal import Line
from tests.faults.foreign_runs import Call, change_journal

HOSTILE = "<script>alert(1)</script>\n\x1b[31m\x1b]0;owned\x07|$\\frac$%\\input{x}"


class TestLinks:
    """A directory may lead elsewhere: what is written or deleted in it would be there."""

    @pytest.mark.parametrize(
        ("verb", "name"),
        [
            ("report", ".trials.csv.tmp"),
            ("report", "plots"),
            ("resume", ".lock"),
            ("resume", journal.NAME),
            ("resume", "checkpoints"),
        ],
    )
    def test_nothing_of_the_users_is_touched(
        self, verb: str, name: str, given: Path, nasrun_inprocess: Call, tmp_path: Path
    ) -> None:
        precious = tmp_path / "precious"
        if name in ("plots", "checkpoints"):
            precious.mkdir()
            for file in ("0-0.zip", ".a.tmp"):
                (precious / file).write_text("mine")
        elif name == journal.NAME:
            (given / name).rename(precious)
        else:
            precious.write_text("mine")
        before = contents(precious)
        shutil.rmtree(given / name, ignore_errors=True)
        (given / name).unlink(missing_ok=True)
        (given / name).symlink_to(precious)
        done = nasrun_inprocess(f"{verb} given" + (" trials=9" if verb == "resume" else ""))
        assert done.returncode == 2
        assert done.stderr == (
            f"nasrun: given/{name}: is a link, which is not allowed in a run directory; replace it by its target\n"
        )
        assert contents(precious) == before

    def test_the_directory_itself_may_be_one(self, given: Path, nasrun_inprocess: Call, tmp_path: Path) -> None:
        (tmp_path / "latest").symlink_to(given)
        assert nasrun_inprocess("report latest").returncode == 0


def contents(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    return {str(file): file.read_bytes() for file in files}


def test_markup_is_text_in_all_that_a_report_writes(given: Path, nasrun_inprocess: Call) -> None:
    def change(event: Line) -> None:
        if event["event"] == "run":
            event["choices"] = {"strategy": HOSTILE, "dataset": HOSTILE, "search_space": HOSTILE}
            event["environment"]["processor"] = HOSTILE
        for number, proposal in enumerate(event.get("proposals", [])):
            proposal["origin"] = HOSTILE if number % 2 else "=cmd|' /C calc'!A0"
        if event["event"] == "measure" and event["trial"] in (1, 2):
            event.update(status="failed", metrics={}, error="=HYPERLINK(1)" if event["trial"] == 1 else HOSTILE)
        if event["event"] == "end":
            event["reason"] = HOSTILE

    change_journal(given, change)
    done = nasrun_inprocess("report given")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    page = (given / "report.html").read_text()
    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;alert") >= 3
    assert {path.suffix for path in (given / "plots").iterdir()} >= {".png"}
    with (given / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert rows[1]["error"] == "'=HYPERLINK(1)"
    assert rows[0]["origin"] == "'=cmd|' /C calc'!A0"
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "@"))]
    for row in rows:  # numbers stay numbers
        assert row["val_accuracy"] == "" or 0 <= float(row["val_accuracy"]) <= 1


def test_markup_is_text_in_all_that_a_comparison_writes(given: Path, nasrun_inprocess: Call, tmp_path: Path) -> None:
    for number, name in enumerate((HOSTILE, "=1+1", "$a$")):
        folder = tmp_path / "all" / f"{number}"
        shutil.copytree(given, folder)
        environment = json.loads((folder / "environment.json").read_text())
        environment["choices"] = {"strategy": name, "dataset": HOSTILE, "search_space": HOSTILE}
        (folder / "environment.json").write_text(json.dumps(environment))
    done = nasrun_inprocess("compare all --out out")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    markdown = (tmp_path / "out" / "compare.md").read_text()
    assert "<script" not in markdown
    assert "&lt;script" in markdown
    tex = (tmp_path / "out" / "compare.tex").read_text()
    assert not [line for line in tex.splitlines() if line.startswith(("\x1b", "\\input"))]
    assert "\\input{x}" not in "".join(line for line in tex.splitlines() if not line.startswith("%"))
    with (tmp_path / "out" / "compare.csv").open() as file:
        groups = {row["group"] for row in csv.DictReader(file)}
    assert "'=1+1" in groups
    for page in (tmp_path / "out").glob("*.html"):
        assert "<script>alert" not in page.read_text()


def test_a_name_of_a_file_cannot_command_the_terminal(nasrun_inprocess: Call, tmp_path: Path) -> None:
    name = "a\x1b[2Jb"
    (tmp_path / name).mkdir()
    for words in (f"report '{name}'", f"resume '{name}'", f"export '{name}'", f"predict '{name}' x", f"'{name}=1'"):
        done = nasrun_inprocess(words)
        assert done.returncode == 2, words
        assert "a?[2Jb" in done.stderr, words
        assert "\x1b" not in done.stderr, words


def test_a_genome_cannot_end_the_first_string_of_the_python_file(tmp_path: Path) -> None:
    import torch
    from torch import nn

    from nasrun.export.python_source import python_source

    mark = tmp_path / "ran"
    title = f'x"""\nopen({str(mark)!r}, "w")\n"""\\'
    head = {"title": title, "weights": "w", "inputs": "i", "outputs": "o", "classes": "()"}
    source = python_source(nn.Linear(2, 2), {}, "outputs", head)
    namespace: dict[str, Any] = {}
    exec(compile(source, "model.py", "exec"), namespace)
    assert not mark.exists()
    assert isinstance(namespace["Network"]().network, torch.nn.Linear)


class TestWeights:
    """Pickles in the place of weights, in all the places where weights lie."""

    class Payload:
        def __init__(self, mark: Path) -> None:
            self._mark = mark

        def __reduce__(self) -> tuple[Any, ...]:
            return (open, (str(self._mark), "w"))

    def test_no_pickle_is_loaded(self, tmp_path: Path) -> None:
        import torch

        mark = tmp_path / "ran"
        for name in ("model.safetensors", "0-0.zip"):  # torch writes zips too
            torch.save({"weight": self.Payload(mark)}, tmp_path / name)
            with pytest.raises(Exception, match=r"(?i)header|refused|archive"):
                load_weights(tmp_path / name)
        with pytest.raises(ArchiveError):
            load_archive(tmp_path / "0-0.zip")
        assert not mark.exists()
        torch.load(tmp_path / "0-0.zip", weights_only=False)  # the payload is one
        assert mark.exists()

    def test_a_search_space_in_an_archive_is_one_of_nasruns(self, tmp_path: Path) -> None:
        for target in (
            "os.system",
            "nasrun.spaces.mlp.space.np",
            "nasrun.spaces.mlp.space.SearchSpace.x",
            "nasrun.cli.main.main",
        ):
            with pytest.raises(ValueError, match=r"^_target_="):
                make_space({"_target_": target})
