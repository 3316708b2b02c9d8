"""Run directories that someone else has made: nothing in them runs, leads elsewhere, or breaks what is written.

Every payload would leave a mark: a file `ran`, a changed file of the user's, or markup in what is written.
"""

import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from nasrun.checkpoints.archive import ArchiveError
from nasrun.checkpoints.archive import load as load_archive
from nasrun.checkpoints.store import load_weights
from nasrun.config.stored_run import READ
from nasrun.core.config_files import conf_dir
from nasrun.spaces.sections import make_space
from nasrun.storage import journal
from nasrun.storage.journal import Line
from nasrun.storage.stored_config import MOST_BYTES

WORDS = "search_space=sequential_cnn "
WORDS += "evaluator=synthetic dataset=synthetic strategy=aging_evolution strategy.population=3 strategy.sample=2"
QUIET = "trials=6 output.console=none output.plots=false"
VERBS = ("resume", "report", "export", "compare")
HOSTILE = "<script>alert(1)</script>\n\x1b[31m\x1b]0;owned\x07|$\\frac$%\\input{x}"

Call = Callable[[str], Any]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, as nasrun makes it."""
    from nasrun.config.compose import compose_config, task_config
    from nasrun.runner.run import start

    folder = tmp_path_factory.mktemp("made") / "run"
    config = task_config(compose_config([*WORDS.split(), *QUIET.split()]))
    start(config, folder, unique=False, choices={"strategy": "aging_evolution", "dataset": "synthetic"})
    return folder


@pytest.fixture
def given(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, to be spoilt."""
    return Path(shutil.copytree(finished, tmp_path / "given"))


def change_config(directory: Path, key: str, value: Any) -> None:
    path = directory / ".hydra" / "config.yaml"
    config = OmegaConf.load(path)
    OmegaConf.update(config, key, value, force_add=True)
    path.write_text(OmegaConf.to_yaml(config))


def change_journal(directory: Path, change: Callable[[Line], None], *, stop: str | None = None) -> None:
    """Change the events of a journal, each line whole again; what comes after the first event `stop` is left out."""
    path = directory / journal.NAME
    lines = []
    for event in journal.read(path):
        event.pop("crc", None)
        change(event)
        lines.append(journal.line_of(event))
        if event["event"] == stop:
            break
    path.write_bytes(b"".join(lines))


def plant(folder: Path) -> None:
    """A module that leaves a mark as soon as it is imported."""
    (folder / "planted.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\nclass Thing: pass\n")


class TestCodeInTheConfig:
    """A `_target_` names what is imported and called."""

    @pytest.mark.parametrize(
        ("verb", "group"),
        [("resume", group) for group in ("search_space", "strategy", "evaluator", "dataset", "hardware", "tracker")]
        + [(verb, group) for verb in ("report", "export") for group in ("search_space", "evaluator")]
        + [("report", group) for group in ("strategy", "dataset", "hardware", "tracker")]
        + [("compare", "search_space")],
    )
    def test_no_foreign_module_is_imported(
        self, verb: str, group: str, given: Path, nasrun_inprocess: Call, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plant(given.parent)
        monkeypatch.syspath_prepend(given.parent)
        change_config(given, f"{group}._target_", "planted.Thing")
        done = nasrun_inprocess(f"{verb} given")
        assert not (given.parent / "ran").exists()
        if verb == "compare" or (verb == "report" and group not in READ):  # which make nothing of it
            assert done.returncode == 0, done.stderr
            return
        assert done.returncode == 2
        assert done.stderr == (
            f"nasrun: given/.hydra/config.yaml: {group}._target_=planted.Thing: is not of nasrun, and to import it can "
            "run any code; if you trust it: NASRUN_ALLOW=planted nasrun ...\n"
        )

    @pytest.mark.parametrize("target", ["os.system", "subprocess.Popen", "antigravity.fly", "nasrunner.Space", "x", 3])
    def test_whatever_it_is_called(self, target: Any, given: Path, nasrun_inprocess: Call) -> None:
        change_config(given, "search_space._target_", target)
        done = nasrun_inprocess("report given")
        assert done.returncode == 2
        assert "is not of nasrun" in done.stderr

    def test_nor_by_a_change_in_the_journal(
        self, given: Path, nasrun_inprocess: Call, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plant(given.parent)
        monkeypatch.syspath_prepend(given.parent)
        change_journal(given, lambda event: None, stop="run")
        resumed = {"event": "resume", "changes": {"strategy._target_": "planted.Thing"}, "time": 0.0}
        with (given / journal.NAME).open("ab") as file:
            file.write(journal.line_of(resumed))
        done = nasrun_inprocess("resume given trials=9")
        assert "strategy._target_=planted.Thing: is not of nasrun" in done.stderr
        assert not (given.parent / "ran").exists()

    def test_nor_for_another_run(self, given: Path, nasrun_inprocess: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        plant(given.parent)
        monkeypatch.syspath_prepend(given.parent)
        (given / "best.json").write_text(json.dumps({"genome": "x"}))
        change_config(given, "search_space._target_", "planted.Thing")
        for words in (
            "experiment=train_best from=given",
            "search_space=training_recipe search_space.model=genome search_space.run=given",
        ):
            done = nasrun_inprocess(words)
            assert done.returncode == 2, words
            assert (
                "planted.Thing: is not of nasrun" in done.stderr or "expected a class of nasrun.spaces" in done.stderr
            )
        assert not (given.parent / "ran").exists()

    def test_what_the_user_allows_or_chooses_is_taken(
        self, given: Path, nasrun_inprocess: Call, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One's own classes: any run may be composed with them; its directory is read again when they are allowed."""
        (given.parent / "mine.py").write_text("from nasrun.strategies.random import Random\nclass Own(Random): pass\n")
        monkeypatch.syspath_prepend(given.parent)
        words = f"evaluator=synthetic dataset=synthetic strategy=random strategy._target_=mine.Own {QUIET}"
        assert nasrun_inprocess(f"{words} hydra.run.dir=own").returncode == 0
        assert nasrun_inprocess("resume own trials=7").returncode == 2
        assert nasrun_inprocess(f"{words} resume=true hydra.run.dir=own").returncode == 0
        for allowed in ("mine", "other, mine"):
            monkeypatch.setenv("NASRUN_ALLOW", allowed)
            assert nasrun_inprocess("resume own trials=8").returncode == 0
        monkeypatch.setenv("NASRUN_ALLOW", "min")
        assert nasrun_inprocess("resume own").returncode == 2
        assert nasrun_inprocess("report own").returncode == 0, "it makes no strategy"

    def test_variables_of_the_environment_stay_where_they_are(
        self, given: Path, nasrun_inprocess: Call, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SECRET", "hunter2")
        for value in ("${oc.select:x,${oc.env:SECRET}}", "a ${hydra:job.name}", "${${x}:y}", "${oc.env:SECRET}"):
            change_config(given, "vars.leak", value)
            for verb in VERBS if value == "${oc.env:SECRET}" else ["report"]:
                done = nasrun_inprocess(f"{verb} given")
                assert done.returncode == 2, (verb, value)
                assert "vars.leak=" in done.stderr, (verb, value)
                assert "refers to something outside of the config" in done.stderr, (verb, value)
        assert not [path for path in given.rglob("*") if path.is_file() and b"hunter2" in path.read_bytes()]

    def test_ones_own_are_written_down_as_what_they_were(
        self, nasrun_inprocess: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PLACE", "here")
        words = f"{WORDS} '+vars.place=${{oc.env:PLACE}}'"
        assert nasrun_inprocess(f"{words} {QUIET} hydra.run.dir=own").returncode == 0
        monkeypatch.delenv("PLACE")
        assert nasrun_inprocess("resume own trials=8").returncode == 0
        assert OmegaConf.load(tmp_path / "own" / ".hydra" / "config.yaml").vars.place == "here"


def bomb() -> str:
    """Ten lines that stand for ten thousand million words."""
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (bomb(), "it holds references (*), which nasrun does not write"),
        ("a: " + "[" * 5000 + "]" * 5000, "it is nested more than 50 levels deep"),
        ("x: 1\n" * (MOST_BYTES // 5 + 1), "bytes, and a config at most 1,048,576"),
        ("!!python/object/apply:os.system ['touch ran']", "could not determine a constructor"),
        ("a: !!python/name:os.system x", "could not determine a constructor"),
        ("- 1", "it holds no keys with values"),
        ("a: b: c", "mapping values are not allowed here"),
    ],
    ids=["references", "nested", "large", "object", "name", "list", "damaged"],
)
def test_a_config_that_is_none_is_refused_in_a_line(
    content: str, reason: str, given: Path, nasrun_inprocess: Call
) -> None:
    (given / ".hydra" / "config.yaml").write_text(content)
    done = nasrun_inprocess("report given")
    assert done.returncode == 2
    assert done.stderr.startswith("nasrun: given/.hydra/config.yaml: cannot be read (")
    assert reason in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (given.parent / "ran").exists()


def test_a_config_that_is_a_pipe_is_not_waited_for(given: Path, nasrun_inprocess: Call) -> None:
    path = given / ".hydra" / "config.yaml"
    path.unlink()
    os.mkfifo(path)
    assert "cannot be read (no such file)" in nasrun_inprocess("report given").stderr


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
            f"nasrun: given/{name}: is a link, and a run directory holds none; put what it leads to in its place\n"
        )
        assert contents(precious) == before

    def test_the_directory_itself_may_be_one(self, given: Path, nasrun_inprocess: Call, tmp_path: Path) -> None:
        (tmp_path / "latest").symlink_to(given)
        assert nasrun_inprocess("report latest").returncode == 0


def contents(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    return {str(file): file.read_bytes() for file in files}


def nested(event: Line) -> None:
    """JSON of a depth that a parser's stack does not hold, in a place where anything may stand."""
    if event["event"] == "run":
        event["choices"] = deep


deep: Any = []
for _ in range(800):
    deep = [deep]


CHANGES: dict[str, Callable[[Line], None]] = {
    "a trial that is its own original": lambda event: [p.update(reuse_of=0) for p in event.get("proposals", [])],
    "no such trial": lambda event: event.update(trial=10**30) if "trial" in event else None,
    "no proposals": lambda event: event.update(proposals=None) if "proposals" in event else None,
    "genomes that are none": lambda event: [p.update(genome=[10**30, "x"]) for p in event.get("proposals", [])],
    "metrics that are none": lambda event: event.update(metrics=["x"]) if "metrics" in event else None,
    "metrics of words": lambda event: event.update(metrics={"val_accuracy": "=1+1"}) if "metrics" in event else None,
    "no status": lambda event: event.update(status={"ok": 1}) if "status" in event else None,
    "times that are none": lambda event: event.update(time="yesterday"),
    "events without a kind": lambda event: event.update(event=None),
    "nested": nested,
    "history": lambda event: event.update(history=[{"epoch": 10**400}]) if "metrics" in event else None,
}


@pytest.mark.parametrize("verb", ["resume", "report"])
@pytest.mark.parametrize("name", CHANGES)
def test_a_journal_that_makes_no_sense_ends_in_a_line(
    verb: str, name: str, given: Path, nasrun_inprocess: Call
) -> None:
    change_journal(given, CHANGES[name])
    done = nasrun_inprocess(f"{verb} given")
    assert len(done.stderr.splitlines()) == (1 if done.returncode else 0)
    assert done.returncode in (0, 1, 2)
    if name not in ("nested", "history"):
        assert done.returncode, name


@pytest.mark.parametrize("text", ['{"event":"x","time":Infinity', '{"event":' + "[" * 10**5, '{"event":' + "9" * 5000])
def test_json_that_no_reader_takes_is_damage(text: str, given: Path, nasrun_inprocess: Call) -> None:
    import zlib

    path = given / journal.NAME
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = b'%s,"crc":%d}\n' % (text.encode(), zlib.crc32(text.encode()))
    path.write_bytes(b"".join(lines))
    done = nasrun_inprocess("report given")
    assert done.returncode in (1, 2)
    assert "journal.jsonl: line 2 is damaged" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_journal_cannot_have_a_thousand_million_trials_proposed(given: Path, nasrun_inprocess: Call) -> None:
    change_journal(given, lambda event: event.update(n=10**9) if event["event"] == "ask" else None)
    done = nasrun_inprocess("resume given")
    assert done.returncode == 1
    assert "asks for 1000000000 trials at once" in done.stderr


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


def test_nasruns_own_config_names_nothing_else() -> None:
    """So that the rule for stored configs never stands in the way of a run without classes of one's own."""
    found = [
        line for path in conf_dir().rglob("*.yaml") for line in path.read_text().splitlines() if "_target_:" in line
    ]
    assert len(found) > 20
    assert all(line.split("_target_:")[1].strip().startswith("nasrun.") for line in found)
