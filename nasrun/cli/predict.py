"""`nasrun predict DIR image...`: what the network of a run, or of an export, says of the user's own image files.

Needs Pillow (`nasrun[images]`). Images are fitted as those of the data set were: in colour or grey, at its size.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from nasrun.cli.arguments import Arguments
from nasrun.core.options import ConfigError, check_value, printable
from nasrun.datasets import DatasetError
from nasrun.datasets.image_files import ImageReader
from nasrun.storage.run_directory import holds_run

USAGE = "nasrun predict DIR IMAGE... [--top N] [--json]"
SHOWN = 3
"""Classes shown of each image unless more are asked for."""

Network = Callable[[np.ndarray], np.ndarray]
"""Images uint8 (N, channels, height, width) to logits (N, classes)."""


def predict(words: Sequence[str]) -> int:
    """Print the classes of the images that the words of the command line name; the exit code.

    A file that cannot be read gets a line on stderr; the others are answered all the same, and the exit code is 2.
    ConfigError where there is no network, or the words make no sense.
    """
    parser = Arguments("predict", USAGE, __doc__)
    parser.add_argument("directory", type=Path, metavar="DIR", help="a run directory, or the folder of an export")
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="image files")
    parser.add_argument("--top", type=int, default=SHOWN, help=f"classes shown of each image [{SHOWN}]")
    parser.add_argument("--json", action="store_true", help="all probabilities, as JSON")
    arguments = parser.parse_intermixed_args(list(words))
    if arguments.top < 1:
        raise ConfigError(f"--top {arguments.top}: must be at least 1")
    if not arguments.directory.is_dir():
        raise ConfigError(f"{arguments.directory}: no such directory; usage: {USAGE}")
    if find_spec("PIL") is None:
        raise ConfigError("predict: needs Pillow; install nasrun[images]")
    network, info = _from_run(arguments.directory) if holds_run(arguments.directory) else _exported(arguments.directory)
    paths, images, failures = _read(arguments.images, info)
    answers = _answers(paths, network(np.stack(images)), info["classes"]) if images else []
    if arguments.json:
        print(json.dumps(answers, indent=2))
    else:
        _print(answers, arguments.top)
    for failure in failures:
        print(f"nasrun: {printable(failure)}", file=sys.stderr)
    return 2 if failures else 0


def _read(paths: Sequence[Path], info: Mapping[str, Any]) -> tuple[list[Path], list[np.ndarray], list[str]]:
    """The files that can be read, with their images, and a line for each that cannot."""
    task = info["task"]
    if task.get("kind") == "regression":
        raise ConfigError("predict: the network gives pictures, not classes; use the files of nasrun export")
    if task["channels"] not in (1, 3):
        raise ConfigError(
            f"predict: the network takes {task['channels']} channels; image files have 1 (grey) or 3 (RGB)"
        )
    reader = ImageReader(task["channels"], task["height"], task["width"], info["resize"])
    good, images, failures = [], [], []
    for path in paths:
        try:
            if not path.is_file():
                raise DatasetError(
                    f"{path}: {'is a folder; give the files in it' if path.is_dir() else 'no such file'}"
                )
            images.append(reader.read(path))
            good.append(path)
        except DatasetError as error:
            failures.append(" ".join(str(error).split()))
    return good, images, failures


def _answers(paths: Sequence[Path], logits: np.ndarray, classes: Sequence[str]) -> list[dict[str, Any]]:
    """For each file its class, with the probabilities of all classes, the likeliest first."""
    shares = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    answers = []
    for path, row in zip(paths, shares, strict=True):
        order = np.argsort(-row, kind="stable")
        probabilities = {classes[place]: float(row[place]) for place in order}
        likeliest = classes[order[0]]
        answers.append(
            {
                "file": str(path),
                "class": likeliest,
                "probability": probabilities[likeliest],
                "probabilities": probabilities,
            }
        )
    return answers


def _print(answers: Sequence[Mapping[str, Any]], top: int) -> None:
    """A line per file: the likeliest classes with their probabilities."""
    width = max((len(answer["file"]) for answer in answers), default=0)
    for answer in answers:
        shown = list(answer["probabilities"].items())[:top]
        said = "  ".join(f"{name} {100 * share:.1f} %" for name, share in shown)
        print(printable(f"{answer['file']:<{width}}  {said}"))


def _from_run(directory: Path) -> tuple[Network, dict[str, Any]]:
    """The winner of a run."""
    from nasrun.export.model_card import info
    from nasrun.export.network import load_network, outputs_of

    network = load_network(directory, None)
    return lambda images: outputs_of(network.model, images), info(network)


def _exported(folder: Path) -> tuple[Network, dict[str, Any]]:
    """The network of an export folder: built by its search space, or run by onnxruntime. Nothing in it is executed."""
    info = _read_info(folder)
    target = str(info["search_space"].get("_target_", ""))
    # A class of the user's own would be imported from wherever the file says.
    if (folder / "model.safetensors").is_file() and target.startswith("nasrun."):
        return _rebuilt(folder / "model.safetensors", info), info
    if not (folder / "model.onnx").is_file():
        what = "neither model.safetensors nor model.onnx"
        if (folder / "model.safetensors").is_file():
            what = f"no model.onnx, which a search space of one's own ({target}) needs"
        raise ConfigError(f"{folder}: holds {what}; make it with nasrun export")
    try:
        import onnxruntime
    except ImportError:
        raise ConfigError("predict: model.onnx needs onnxruntime; install nasrun[export]") from None
    try:
        session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common kind
        raise ConfigError(f"{folder / 'model.onnx'}: cannot be read ({' '.join(str(error).split())[:200]})") from None
    return lambda images: np.asarray(session.run(None, {"images": images})[0]), info


def _read_info(folder: Path) -> dict[str, Any]:
    """What `export.json` tells; ConfigError where it does not tell what is needed."""
    path = folder / "export.json"
    if not path.is_file():
        raise ConfigError(f"{folder}: neither a run directory nor an export (it has no export.json)")
    kinds: dict[str, type] = {"task": dict, "classes": list, "resize": str, "search_space": dict, "genome": str}
    try:
        info: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for key, kind in kinds.items():
            check_value(kind, info[key], key)
        for key in ("channels", "height", "width", "outputs"):
            check_value(int, info["task"][key], f"task.{key}")
    except (OSError, ValueError, KeyError, TypeError, ConfigError) as error:
        raise ConfigError(f"{path}: cannot be used ({type(error).__name__}: {error})") from None
    return info


def _rebuilt(path: Path, info: Mapping[str, Any]) -> Network:
    """The network of an architecture, with the weights of a file."""
    from nasrun.checkpoints.store import load_weights
    from nasrun.config.build import create
    from nasrun.core import SearchSpace, Task
    from nasrun.export.network import Deployed, built, outputs_of

    try:
        space = create(dict(info), "search_space", SearchSpace)  # type: ignore[type-abstract]
        task = Task(**info["task"])
        network = built(space, space.parse(info["genome"]), task, info.get("pad_to"))
        model = Deployed(network, [0.0] * task.channels, [1.0] * task.channels)
        model.load_state_dict(load_weights(path))
    except Exception as error:  # readers raise many kinds on damaged files
        raise ConfigError(f"{path}: cannot be used ({' '.join(str(error).split())[:200]})") from None
    model.eval()
    return lambda images: outputs_of(model, images)
