"""What the documentation shows is run as it stands there."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nasrun.core import Task
from tests.documentation import DOCS, PAGES, README, anchors, extension_files, links, write_extensions
from tests.runner.test_crash import script


def nasrun(command: str, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """A command of a page, run in a folder."""
    program, *words = shlex.split(command)
    assert program == "nasrun"
    place = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    there = Path(sys.executable).with_name("nasrun")
    return subprocess.run([there, *words], cwd=folder, env=place, capture_output=True, text=True, check=False)


def commands(page: str) -> list[str]:
    """The commands of a page, in order, those over several lines in one."""
    text = (DOCS / page).read_text()
    blocks = "\n".join(re.findall(r"```\n(.*?)```", text, re.DOTALL)).replace("\\\n", " ")
    return [line for line in blocks.splitlines() if line.startswith("nasrun ")]


@pytest.fixture(scope="module")
def extensions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that docs/extending.md shows, under the names that it gives them."""
    folder = tmp_path_factory.mktemp("extensions")
    assert len(extension_files()) == 8
    write_extensions(folder)
    return folder


def test_an_extension_is_one_python_file_and_one_yaml_file(extensions: Path) -> None:
    for command in commands("extending.md"):
        done = nasrun(f"{command} output.plots=false", extensions, PYTHONPATH=".")
        assert done.returncode == 0, done.stderr
    trained = (extensions / "mine" / "trials.csv").read_text()
    assert trained.count(",climb,") == 5
    assert '"test_accuracy"' in (extensions / "mine" / "best.json").read_text()
    assert "4-4-4" in (extensions / "cheap" / "best.json").read_text()


def test_wrong_options_of_an_extension_get_one_line(
    extensions: Path, nasrun_inprocess: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(extensions)
    mine = f"--config-dir {extensions / 'conf'}"
    refused = nasrun_inprocess(f"{mine} strategy=climbing strategy.steps=0")
    assert refused.returncode == 2
    assert refused.stderr == "nasrun: strategy.steps=0: must be at least 1\n"
    refused = nasrun_inprocess(f"{mine} search_space=tower search_space.widths=[]")
    assert refused.returncode == 2
    assert refused.stderr == "nasrun: search_space.widths=[]: must not be empty\n"


def test_the_space_that_is_shown_keeps_what_a_space_promises(extensions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(extensions)
    from tower import Tower

    space, rng, task = Tower(depth=3, widths=[4, 8, 16]), np.random.default_rng(0), Task("t", 1, 8, 8, outputs=2)
    for _ in range(20):
        genome, other = space.sample(rng), space.sample(rng)
        assert space.decode(space.encode(genome)) == genome
        assert space.parse(space.format(genome)) == genome
        assert space.mutations["width"](genome, rng) != genome
        space.validate(space.crossover(genome, other, rng))
        assert len(space.neighbours(genome)) == 3 * 2
    network = space.build((4, 16, 8), task)
    assert space.cost((4, 16, 8), task).parameters == sum(weights.numel() for weights in network.parameters())
    with pytest.raises(ValueError, match="position 1"):
        space.parse("4-5-8")


@pytest.mark.slow
def test_own_images_become_a_file(tmp_path: Path, photos: Path) -> None:
    shutil.copytree(photos, tmp_path / "photos")
    shutil.copytree(photos / "shirt", tmp_path / "new_photos")
    quick = {"dataset": " hardware.clock=cpu output.plots=false", "export": " --format onnx"}
    for command in commands("own_images.md"):
        kind = re.split("[ =]", command)[1]
        command = command.replace("ship/3", "shirt/3").replace("frog/7", "trouser/7")
        command = command.replace("time=5m", "time=30s")
        done = nasrun(command + quick.get(kind, ""), tmp_path)
        assert done.returncode == 0, f"{command}: {done.stderr}"
    assert (tmp_path / "own" / "export" / "model.onnx").stat().st_size > 1000
    assert "parameters" in (tmp_path / "own" / "export" / "MODEL_CARD.md").read_text()
    assert (tmp_path / "found.csv").read_text().count("new_photos/") == 30


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of image files as docs/own_images.md has it, of real pictures: two classes of Fashion-MNIST."""
    from PIL import Image

    from nasrun.datasets.fashion_mnist_mini import FashionMnistMini

    folder, test = tmp_path_factory.mktemp("photos"), FashionMnistMini().load().test
    for label, name in ((0, "shirt"), (1, "trouser")):
        (folder / name).mkdir()
        for number, image in enumerate(test.images[test.labels == label][:30]):
            Image.fromarray(image[0]).save(folder / name / f"{number}.png")
    return folder


def test_the_pages_of_options_are_what_the_files_say() -> None:
    made, folder = script("make_docs").pages(), DOCS / "options"
    assert sorted(path.name for path in folder.iterdir()) == sorted(made)
    stale = [name for name, text in made.items() if (folder / name).read_text() != text]
    assert not stale, "write them again: python scripts/make_docs.py"


def targets() -> list[tuple[Path, str, Path, str]]:
    """Every page with each of its links within the documentation: as it stands there, its file, its anchor."""
    found = []
    for page in PAGES:
        for link in links(page):
            if "://" not in link:
                name, _, anchor = link.partition("#")
                found.append((page, link, (page.parent / name).resolve() if name else page, anchor))
    return found


def test_links_of_the_documentation_lead_somewhere() -> None:
    assert len(targets()) > 100
    assert [f"{page.name}: {link}" for page, link, there, _ in targets() if not there.exists()] == []
    assert sum(bool(anchor) for *_, anchor in targets()) > 50
    missing = [
        f"{page.name}: {link}"
        for page, link, there, anchor in targets()
        if anchor and there.suffix == ".md" and anchor not in anchors(there)
    ]
    assert missing == []


def test_anchors_are_those_that_a_reader_of_the_page_has(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One: `two_three` (4)\n## [Link](x.md) & more\n## Twice\n```\n# no heading\n```\n## Twice\n")
    assert anchors(page) == {"one-two_three-4", "link--more", "twice", "twice-1"}


def test_every_page_is_reached_from_the_readme() -> None:
    reached, pending = set[Path](), [README]
    while pending:
        page = pending.pop()
        reached.add(page)
        pending += [there for here, _, there, _ in targets() if here == page and there not in reached]
    assert sorted({*PAGES} - reached) == []


def test_pictures_of_the_documentation_are_small() -> None:
    pictures = list((DOCS / "pictures").iterdir())
    assert pictures
    assert all(path.suffix == ".png" and path.stat().st_size < 200_000 for path in pictures)
    shown = "".join(page.read_text() for page in (README, *DOCS.glob("*.md")))
    assert [path.name for path in pictures if f"pictures/{path.name})" not in shown] == []
