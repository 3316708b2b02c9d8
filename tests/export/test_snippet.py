"""The program of docs/export.md that runs a network without nasrun: on a photograph it says what `predict` says."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.documentation import DOCS
from tests.picture_files import fill
from tests.support import made_run

SHORT = (
    "search_space=sequential_cnn",
    "search_space.max_depth=3",
    "search_space.filters=[4,8]",
    "recipe=plain",
    "trials=1",
    "strategy=random",
    "evaluator.epochs=1",
    "evaluator.final_epochs=1",
    "hardware=cpu",
    "hardware.threads=1",
    "output.console=none",
    "output.plots=false",
)


@pytest.fixture
def photographs(tmp_path: Path) -> list[str]:
    """Data of three classes, and photographs as cameras write them: turned, wide, high, grey, with transparency."""
    fill(tmp_path / "photos", 8)
    rng = np.random.default_rng(1)
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was held upright
    for name, size, mode in (("wide", (90, 40), "RGB"), ("high", (31, 77), "L"), ("turned", (64, 48), "RGB")):
        shape = size[::-1] if mode == "L" else (*size[::-1], 3)
        picture = Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).resize(size)
        exif = {"exif": turned} if name == "turned" else {}
        picture.save(tmp_path / f"{name}.jpg", quality=95, **exif)
    return ["wide.jpg", "high.jpg", "turned.jpg"]


@pytest.mark.parametrize("channels", [1, 3])
def test_the_program_says_what_predict_says(
    channels: int, photographs: list[str], tmp_path: Path, nasrun_inprocess: Callable
) -> None:
    data = (f"dataset.path={tmp_path / 'photos'}", f"dataset.channels={channels}", "dataset.height=20")
    words = [*SHORT, "dataset=image_folder", *data, "dataset.width=24"]
    made_run(tmp_path / "own", *words)
    assert nasrun_inprocess("export own --format onnx").returncode == 0
    [program] = re.findall(r"```python\n(import json\n.*?)```", (DOCS / "export.md").read_text(), re.DOTALL)
    blocked = "import sys\nfor name in ('nasrun', 'torch'): sys.modules[name] = None\n"
    for name in photographs:
        code = blocked + program.replace("photo.jpg", name)
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        [expected] = json.loads(nasrun_inprocess(f"predict own/export {name} --json").stdout)
        likeliest = list(expected["probabilities"].items())[:3]
        assert done.stdout.splitlines() == [f"{one} {100 * share:.1f} %" for one, share in likeliest]
