"""The environment of a run, and the parts of it that may change the last digits of its results."""

import shutil
import subprocess
from pathlib import Path

import pytest

from nasrun.core import environment
from nasrun.core.environment import INSTRUCTIONS, describe_environment, describe_processor, differences

CPUINFO = """\
processor\t: 0
model name\t: AMD EPYC
flags\t\t: fpu avx avx2 avx512_bf16 abm
processor\t: 1
model name\t: another
flags\t\t: amx_bf16
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd sve bf16\n"


@pytest.mark.parametrize(
    ("content", "processor", "instructions"),
    [(CPUINFO, "AMD EPYC", "avx avx2 avx512_bf16"), (ARM, "unknown", "asimd bf16 sve")],
)
def test_a_processor_by_its_first_core(
    content: str, processor: str, instructions: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(content)
    monkeypatch.setattr(environment, "CPUINFO", tmp_path / "cpuinfo")
    for name in environment.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    found = {"processor": processor, "instructions": instructions, "variables": ""}
    assert describe_processor() == found
    monkeypatch.setenv("MKL_CBWR", "AVX2")
    assert describe_processor() == {**found, "variables": "MKL_CBWR=AVX2"}
    (tmp_path / "cpuinfo").unlink()
    assert set(describe_processor()) == set(found)


def test_this_processor() -> None:
    assert set(describe_processor()["instructions"].split()) <= set(INSTRUCTIONS)
    assert describe_environment().items() >= describe_processor().items()


def test_differences_are_those_that_change_digits() -> None:
    now = describe_environment()
    assert differences(now, now) == {}
    then = {**now, "command": ["nasrun", "trials=3"], "commit": "0" * 40, "processors": 99}
    assert differences(then, now) == {}
    then = {**then, "instructions": "", "packages": {**now["packages"], "torch": "1.0"}}
    expected = {"instructions": ("none", now["instructions"] or "none"), "torch": ("1.0", now["packages"]["torch"])}
    assert differences(then, now) == {name: pair for name, pair in expected.items() if pair[0] != pair[1]}
    del then["instructions"]  # of a nasrun that did not look
    assert set(differences(then, now)) == {"torch"}


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    done = subprocess.run(["git", *identity, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_commit_of_a_checkout_and_of_a_linked_work_tree(tmp_path: Path) -> None:
    main = tmp_path / "main"
    main.mkdir()
    git(main, "init", "--quiet", "--initial-branch=main")
    git(main, "commit", "--quiet", "--allow-empty", "--message=one")
    first = git(main, "rev-parse", "HEAD")
    assert environment.commit_of(main) == first
    git(main, "worktree", "add", "--quiet", "-b", "side", "../linked")
    assert environment.commit_of(tmp_path / "linked") == first
    git(tmp_path / "linked", "commit", "--quiet", "--allow-empty", "--message=two")
    second = git(tmp_path / "linked", "rev-parse", "HEAD")
    assert environment.commit_of(tmp_path / "linked") == second != first
    git(main, "pack-refs", "--all")
    assert (environment.commit_of(main), environment.commit_of(tmp_path / "linked")) == (first, second)
    git(main, "checkout", "--quiet", "--detach")
    assert environment.commit_of(main) == first


def test_the_commit_of_a_package_of_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What pip writes for `pip install git+URL` (PEP 610)."""
    info = tmp_path / "nasrun-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nasrun\nVersion: 0.1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert environment.commit_of(tmp_path) is None
    for text, commit in (
        ('{"url": "https://example.org/n.git", "vcs_info": {"vcs": "git", "commit_id": "%s"}}' % ("a" * 40), "a" * 40),
        ('{"url": "file:///n", "dir_info": {"editable": true}}', None),
        ("no JSON", None),
    ):
        (info / "direct_url.json").write_text(text)
        assert environment.commit_of(tmp_path) == commit
