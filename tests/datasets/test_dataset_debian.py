"""The Debian package, fetched by the real apt-get from a repository on loopback."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from small_sets import NAMES, TEST, serving, small_class, small_contents, write

from nasrun.datasets import DatasetError

pytestmark = pytest.mark.skipif(
    not (shutil.which("apt-get") and shutil.which("dpkg-deb")), reason="no apt-get here, so nothing to fetch with"
)

PACKAGE = "nasrun-test-images"
SYSTEM = "/usr/share/datasets/nasrun-test-images"
CONTENTS = small_contents()
SmallFashion = small_class(CONTENTS, package=PACKAGE, system=SYSTEM)


def build_repository(folder: Path, contents: dict[str, bytes]) -> dict[str, bytes]:
    """A package with the files, and the index of a repository that holds it, by path."""
    tree = folder / "tree"
    write(tree / SYSTEM.lstrip("/"), contents)
    (tree / "DEBIAN").mkdir()
    control = f"Package: {PACKAGE}\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: images\n"
    (tree / "DEBIAN" / "control").write_text(control)
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, folder / "p.deb"], check=True)
    deb = (folder / "p.deb").read_bytes()
    index = f"{control}Filename: here/p.deb\nSize: {len(deb)}\nSHA256: {hashlib.sha256(deb).hexdigest()}\n".encode()
    listed = f" {hashlib.sha256(index).hexdigest()} {len(index)} Packages\n"
    release = f"Date: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n{listed}".encode()
    return {"/here/p.deb": deb, "/here/Packages": index, "/here/Release": release}


def use_repository(folder: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let apt-get know this repository and nothing of the machine's own settings, with empty package lists."""
    (folder / "lists" / "partial").mkdir(parents=True)
    (folder / "sources.list").write_text(f"deb [trusted=yes] {url} here/\n")
    (folder / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "{folder}/sources.list";\nDir::Etc::sourceparts "/dev/null";\n'
        f'Dir::Etc::main "/dev/null";\nDir::Etc::parts "/dev/null";\nDir::State::Lists "{folder}/lists";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(folder / "apt.conf"))


def test_the_package_is_fetched_unpacked_and_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache" / "fashion-mnist"
    with serving(build_repository(tmp_path, CONTENTS)) as server:
        use_repository(tmp_path, server.url, monkeypatch)
        (cache / "part-apt-left-by-a-kill").mkdir(parents=True)
        assert len(SmallFashion(mirrors=[]).load().test) == TEST
        assert ("/here/p.deb", None) in server.log
        before = len(server.log)
        SmallFashion(mirrors=[]).load()
        assert len(server.log) == before
    assert sorted(path.name for path in cache.iterdir()) == sorted(f"{name}.gz" for name in NAMES)
    # The machine's own package lists were neither used nor filled.
    assert [path.name for path in (tmp_path / "lists").iterdir()] == ["partial"]


def test_a_package_with_other_content_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = {**CONTENTS, NAMES[1]: CONTENTS[NAMES[1]][:-1] + b"\x0b"}
    with serving(build_repository(tmp_path, contents)) as server:
        use_repository(tmp_path, server.url, monkeypatch)
        with pytest.raises(DatasetError, match=f"Debian package {PACKAGE}: {NAMES[1]}.gz: wrong content") as error:
            SmallFashion(mirrors=[]).load()
    assert "\n" not in str(error.value)


def test_a_repository_without_the_package_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving({}) as server:
        use_repository(tmp_path, server.url, monkeypatch)
        with pytest.raises(
            DatasetError, match=rf"tried: Debian package {PACKAGE}: apt-get: E: .*Unable to locate"
        ) as error:
            SmallFashion(mirrors=[]).load()
    assert "\n" not in str(error.value)
    assert list((tmp_path / "cache" / "fashion-mnist").iterdir()) == []


def test_without_apt_get_nothing_is_said_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DatasetError) as error:
        SmallFashion(mirrors=[]).load()
    assert "Debian" not in str(error.value)
