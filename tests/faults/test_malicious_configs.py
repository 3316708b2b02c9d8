"""Configs of run directories that someone else has made: what they name is neither imported nor looked up.

Every payload would leave a mark: a file `ran`, or a secret in what is written.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from nasrun.config.stored_run import READ
from nasrun.core.config_files import conf_dir
from nasrun.storage import journal
from nasrun.storage.stored_config import MOST_BYTES
from tests.faults.foreign_runs import QUIET, WORDS, Call, change_config, change_journal, plant

VERBS = ("resume", "report", "export", "compare")


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
            f"nasrun: given/.hydra/config.yaml: {group}._target_=planted.Thing: is not of nasrun, and importing it can "
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
        (bomb(), "it has references (*), which nasrun does not write"),
        ("a: " + "[" * 5000 + "]" * 5000, "it is nested more than 50 levels deep"),
        ("x: 1\n" * (MOST_BYTES // 5 + 1), "bytes, and a config at most 1,048,576"),
        ("!!python/object/apply:os.system ['touch ran']", "could not determine a constructor"),
        ("a: !!python/name:os.system x", "could not determine a constructor"),
        ("- 1", "it is not a mapping"),
        ("a: b: c", "mapping values are not allowed"),
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


def test_nasruns_own_config_names_nothing_else() -> None:
    """So that the rule for stored configs never stands in the way of a run without classes of one's own."""
    found = [
        line for path in conf_dir().rglob("*.yaml") for line in path.read_text().splitlines() if "_target_:" in line
    ]
    assert len(found) > 20
    assert all(line.split("_target_:")[1].strip().startswith("nasrun.") for line in found)
