"""The wheel holds what the command needs, and the installed command works away from the checkout."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
QUIET = ("--disable-pip-version-check", "--no-index", "--no-deps", "--quiet")


def environment() -> dict[str, str]:
    """The environment without what would bring the checkout back onto the path."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


def run(folder: Path, *command: str | Path) -> str:
    """The output of a command, which must succeed."""
    done = subprocess.run([*map(str, command)], cwd=folder, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, f"{done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(folder, sys.executable, "-m", "pip", "wheel", *QUIET, "--no-build-isolation", "--wheel-dir", folder, ROOT)
    [path] = folder.glob("nasrun-*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel; its dependencies are those of this environment, nothing is downloaded."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    run(folder, sys.executable, "-m", "pip", "--python", python, "install", *QUIET, wheel)
    # Afterwards, or pip would find this environment's own nasrun. What is named in a .pth file is searched, but the
    # .pth files in there, and with them an editable install of the checkout, are not read.
    own = run(folder, python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    present = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    Path(own, "dependencies.pth").write_text("".join(f"{path}\n" for path in sorted(present)))
    return folder


def test_the_wheel_is_whole(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        held = set(file.namelist())
        contents = {name: file.read(name) for name in held if name.startswith("nasrun/")}
    sources = {f"nasrun/{path.relative_to(ROOT / 'nasrun').as_posix()}": path for path in (ROOT / "nasrun").rglob("*")}
    sources |= {
        f"nasrun/conf/{path.relative_to(ROOT / 'conf').as_posix()}": path for path in (ROOT / "conf").rglob("*")
    }
    wanted = {
        name: path
        for name, path in sources.items()
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }
    assert {"nasrun/conf/config.yaml", "nasrun/conf/evaluator/train.yaml"} <= set(wanted)
    assert {"nasrun/datasets/data/fashion_mnist_mini.xz", "nasrun/datasets/data/LICENSE.fashion_mnist_mini"} <= set(
        wanted
    )
    assert sorted(set(wanted) - held) == []
    assert sorted(name for name, path in wanted.items() if contents[name] != path.read_bytes()) == []
    assert [name for name in held if name.endswith(".dist-info/licenses/LICENSE")]


def test_the_wheel_holds_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
    assert not [name for name in names if not name.startswith(("nasrun/", "nasrun-"))]
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]


def test_it_is_the_installed_package_that_runs(installed: Path, tmp_path: Path) -> None:
    found = Path(run(tmp_path, installed / "bin" / "python", "-c", "import nasrun; print(nasrun.__file__)").strip())
    assert found.is_relative_to(installed)
    path = run(tmp_path, installed / "bin" / "python", "-c", "import sys; print('\\n'.join(sys.path))").splitlines()
    assert str(ROOT) not in path


def test_help(installed: Path, tmp_path: Path) -> None:
    assert "aging_evolution" in run(tmp_path, installed / "bin" / "nasrun", "--help")


def test_a_run(installed: Path, tmp_path: Path) -> None:
    command = ("evaluator=synthetic", "trials=5", "output.plots=false", f"hydra.run.dir={tmp_path / 'run'}")
    run(tmp_path, installed / "bin" / "nasrun", *command)
    rows = (tmp_path / "run" / "trials.csv").read_text().splitlines()
    assert len(rows) == 1 + 5
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_shipped_data_are_found(installed: Path, tmp_path: Path) -> None:
    code = (
        "from nasrun.datasets.fashion_mnist_mini import FashionMnistMini; print(len(FashionMnistMini().load().train))"
    )
    assert run(tmp_path, installed / "bin" / "python", "-c", code).strip() == "9000"


def test_the_citation_is_of_this_version() -> None:
    import yaml

    from nasrun import __version__

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    assert citation["license"] == "MIT"
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
