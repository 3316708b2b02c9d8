"""Own classes are on record: their files and what these import, and a resume with other code is refused or says so."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nasrun.config.own_code import digest, own_code
from nasrun.config.stored_run import open_run
from nasrun.reports.compare.checklist import checklist
from nasrun.reports.compare.runs import compare_runs
from nasrun.storage import journal

STRATEGY = """from own_help import steps
from nasrun.strategies.random import Random

class Own(Random):
    def ask(self, n):
        return super().ask(min(n, steps()))
"""
HELP = "def steps():\n    return 1\n"
QUIET = "search_space=nasbench201 evaluator=table output.plots=false output.console=plain"
RUN = f"{QUIET} strategy=random strategy._target_=own_search.Own trials=6"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("own_search", "own_help", "own_package"):  # of the folder of another test
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "own_search.py").write_text(STRATEGY)
    (tmp_path / "own_help.py").write_text(HELP)
    (tmp_path / "own_other.py").write_text("never imported\n")
    return tmp_path


def test_a_class_and_what_it_imports_are_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(folder)
    (folder / "own_package").mkdir()
    (folder / "own_package" / "__init__.py").write_text("")
    (folder / "own_package" / "deep.py").write_text(
        "from . import beside\nimport numpy\nimport own_help\nclass Deep: ..."
    )
    (folder / "own_package" / "beside.py").write_text("import nasrun.core\n")
    import own_package.deep  # noqa: F401  # type: ignore[import-not-found]
    import own_search  # noqa: F401  # type: ignore[import-not-found]

    config = {"strategy": {"_target_": "own_search.Own"}, "space": {"_target_": "nasrun.spaces.mlp.space.MLP"}}
    code = own_code(config)
    assert code.classes == {"strategy": "own_search.Own"}
    assert code.files == {"own_help.py": HELP.encode(), "own_search.py": STRATEGY.encode()}
    record = code.record()
    assert record["files"]["own_help.py"] == digest(HELP.encode())
    assert code.changed(record) == []
    assert code.changed({"files": {**record["files"], "own_help.py": "0", "gone.py": "1"}}) == [
        "own_help.py",
        "gone.py",
    ]
    packed = own_code({"dataset": {"_target_": "own_package.deep.Deep"}}).files
    assert list(packed) == ["own_help.py", "own_package/__init__.py", "own_package/beside.py", "own_package/deep.py"]
    installed = own_code({"tracker": {"mine": {"_target_": "yaml.Loader"}}}).files
    assert [name for name in installed if not name.startswith("yaml/")] == []


def test_a_resume_with_other_code_is_refused_unless_it_is_accepted(folder: Path, nasrun: Callable) -> None:
    place = {"PYTHONPATH": str(folder), "NASRUN_ALLOW": "own_search"}
    assert nasrun(f"{RUN} hydra.run.dir=run", **place).returncode == 0
    run = folder / "run"
    assert (run / "code" / "own_help.py").read_text() == HELP
    assert not (run / "code" / "own_other.py").exists()
    recorded = json.loads((run / "environment.json").read_text())["code"]
    assert recorded["files"] == {"own_help.py": digest(HELP.encode()), "own_search.py": digest(STRATEGY.encode())}
    assert nasrun("resume run trials=8", **place).returncode == 0

    (folder / "own_help.py").write_text(HELP.replace("1", "2"))
    before = (run / "journal.jsonl").read_bytes()
    refused = nasrun("resume run trials=10", **place)
    assert refused.returncode == 2
    assert refused.stderr == (
        "nasrun: own_help.py: is not the code that the run was made with, which is in run/code; put that back, or "
        "resume with the changed code: nasrun resume run changed_code=true\n"
    )
    assert (run / "journal.jsonl").read_bytes() == before
    assert nasrun("resume run", **place).returncode == 0, "nothing is decided any more"
    assert nasrun("resume run changed_code=maybe", **place).returncode == 2

    gone_on = nasrun("resume run trials=10 changed_code=true", **place)
    assert gone_on.returncode == 0, gone_on.stderr
    assert (run / "code" / "changed_1" / "own_help.py").read_text() == HELP.replace("1", "2")
    [event] = [event for event in journal.read(run / "journal.jsonl") if "code" in event and event["event"] == "resume"]
    assert event["changes"] == {"trials": 10}
    assert event["code"]["folder"] == "code/changed_1"
    assert "own classes: resumed with other code after 8 trials (own_help.py)" in gone_on.stdout
    assert nasrun("resume run trials=11", **place).returncode == 0, "that code is the run's from now on"
    (folder / "own_help.py").write_text(HELP)
    assert "run/code/changed_1" in nasrun("resume run trials=12", **place).stderr


def test_the_checklist_names_own_code_and_tells_of_changes(
    folder: Path, nasrun_inprocess: Callable, monkeypatch
) -> None:
    monkeypatch.syspath_prepend(folder)
    for seed in (0, 1):
        answer = nasrun_inprocess(f"{RUN} seed={seed} hydra.run.dir=runs/{seed}")
        assert answer.returncode == 0, answer.stderr
    found = checklist(compare_runs([folder / "runs"]))[0]
    assert f"own_search.py (SHA-256 {digest(STRATEGY.encode())[:12]})" in found.evidence
    (folder / "own_help.py").write_text(HELP + "\n")
    assert nasrun_inprocess(f"{RUN} seed=2 hydra.run.dir=runs/2").returncode == 0
    comparison = compare_runs([folder / "runs"])
    assert checklist(comparison)[0].reply == "no"
    assert "the code of own classes was changed between runs: own_help.py" in comparison.remarks
    assert open_run(folder / "runs" / "0").header.code["classes"] == {"strategy": "own_search.Own"}
