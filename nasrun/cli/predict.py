"""`nasrun predict DIR IMAGE...`: classifies image files with the network of a run or of an export.

Needs Pillow (`nasrun[images]`). Images are converted to the size and channels of the data set.
"""

import json
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nasrun.cli.arguments import Arguments
from nasrun.core.options import ConfigError, check_value, error_line, printable
from nasrun.core.words import counted
from nasrun.datasets import DatasetError
from nasrun.datasets.image_files import SUFFIXES, ImageError, ImageReader, find_images
from nasrun.datasets.notes import describe_counts
from nasrun.reports.tables import csv_text, one_line
from nasrun.storage.records import write_text
from nasrun.storage.run_directory import holds_run, runs_in

USAGE = "nasrun predict DIR IMAGE_OR_FOLDER... [--top N] [--json] [--csv FILE]"
STREAM = Path("-")
"""Instead of an image: read file names from standard input, one per line."""
SHOWN = 3
"""Default number of classes shown per image."""
BATCH = 256
"""Number of images in memory at a time."""
NAMED = 3
"""Maximum number of files named in a message."""

Network = Callable[[np.ndarray], np.ndarray]
"""Images uint8 (N, channels, height, width) to logits (N, classes)."""


class Answer(NamedTuple):
    """The prediction for a file: the probability of each class by name, highest first; or the reason of a failure.

    `error`: the reason with a remedy; `reason`: without.
    """

    path: Path
    probabilities: Mapping[str, float] = {}
    error: str | None = None
    reason: str | None = None

    @property
    def likeliest(self) -> str | None:
        """The class; None if the file cannot be read."""
        return next(iter(self.probabilities), None)


def predict(words: Sequence[str]) -> int:
    """Print the classes of the images named on the command line and return the exit code.

    A named file that cannot be read gets a line on stderr; the others are still classified, and the exit code is 2.
    Unreadable files in a folder are skipped and counted. ConfigError if there is no network, or the command line is
    invalid.
    """
    arguments = _parsed(words)
    network, info = _from_run(arguments.directory) if holds_run(arguments.directory) else _exported(arguments.directory)
    named, found = _files(arguments.images)
    files, width = [*named, *found], max(len(str(path)) for path in (*named, *found))
    answers: list[Answer] = []
    for answer in _answers(files, network, info):
        answers.append(answer)
        if answer.error is None and not arguments.json and arguments.csv is None:
            shown = list(answer.probabilities.items())[: arguments.top]
            said = "  ".join(f"{name} {100 * share:.1f} %" for name, share in shown)
            print(printable(f"{answer.path!s:<{width}}  {said}"))
    if arguments.json:
        print(json.dumps([_as_json(answer) for answer in answers if answer.error is None], indent=2))
    if arguments.csv is not None:
        _write_csv(arguments.csv, answers, info["classes"], say=not arguments.json)
    return _say_failures(answers, named)


def _parsed(words: Sequence[str]) -> Namespace:
    """Parse the command line; ConfigError if it is invalid."""
    parser = Arguments("predict", USAGE, __doc__)
    parser.add_argument("directory", type=Path, metavar="DIR", help="a run directory, or the folder of an export")
    what = "image files, folders (with all images in and below them), or - to read names from stdin"
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE_OR_FOLDER", help=what)
    parser.add_argument("--top", type=int, default=SHOWN, help=f"number of classes shown per image [{SHOWN}]")
    parser.add_argument("--json", action="store_true", help="print all probabilities as JSON")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write a table with one row per image")
    arguments = parser.parse_intermixed_args(list(words))
    if arguments.top < 1:
        raise ConfigError(f"--top {arguments.top}: must be at least 1")
    if not arguments.directory.is_dir():
        raise ConfigError(f"{arguments.directory}: no such directory; usage: {USAGE}")
    if arguments.csv is not None and (arguments.csv.is_dir() or not arguments.csv.parent.is_dir()):
        raise ConfigError(f"--csv {arguments.csv}: expected a file in an existing folder")
    if find_spec("PIL") is None:
        raise ConfigError("predict: needs Pillow; install nasrun[images]")
    return arguments


def _files(given: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """The named files, and the images in and below the named folders, sorted by name.

    Prints which other files are ignored. ConfigError if a folder has no image, or standard input no name.
    """
    if STREAM in given:
        text = sys.stdin.read()
        lines = text.split("\0") if "\0" in text else text.splitlines()  # find -print0 separates names by zero bytes
        streamed = [Path(line) for line in lines if line.strip()]
        given = [*(path for path in given if path != STREAM), *streamed]
        if not given:
            raise ConfigError("predict -: no name on standard input; expected one file per line")
    named, found = [path for path in given if not path.is_dir()], []
    for folder in (path for path in given if path.is_dir()):
        images, others = find_images(folder)
        if not images:
            raise ConfigError(f"{folder}: has no images; known types: {' '.join(SUFFIXES)}")
        if others:
            listed = printable(describe_counts(others))
            print(f"nasrun: {printable(str(folder))}: ignored: {listed}", file=sys.stderr)
        found += images
    return named, found


def _answers(files: Sequence[Path], network: Network, info: Mapping[str, Any]) -> Iterator[Answer]:
    """The predictions for the files, in order."""
    task = info["task"]
    if task.get("kind") == "regression":
        raise ConfigError("predict: the network is for regression, not classification; use the files of nasrun export")
    if task["channels"] not in (1, 3):
        raise ConfigError(
            f"predict: the network takes {task['channels']} channels; image files have 1 (grey) or 3 (RGB)"
        )
    reader = ImageReader(task["channels"], task["height"], task["width"], info["resize"])
    for start in range(0, len(files), BATCH):
        answers: list[Answer] = []
        images: list[np.ndarray] = []
        for path in files[start : start + BATCH]:
            try:
                if not path.is_file():
                    raise DatasetError(f"{path}: no such file")
                images.append(reader.read(path))
                answers.append(Answer(path))
            except DatasetError as error:
                reason = error.reason if isinstance(error, ImageError) else None
                answers.append(Answer(path, error=" ".join(str(error).split()), reason=reason))
        shares = iter(_shares(network(np.stack(images))) if images else ())
        for answer in answers:
            yield answer if answer.error is not None else _answered(answer.path, next(shares), info["classes"])


def _shares(logits: np.ndarray) -> np.ndarray:
    """Probabilities (N, classes) of logits."""
    shares = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def _answered(path: Path, row: np.ndarray, classes: Sequence[str]) -> Answer:
    order = np.argsort(-row, kind="stable")
    return Answer(path, {classes[place]: float(row[place]) for place in order})


def _as_json(answer: Answer) -> dict[str, Any]:
    likeliest = answer.likeliest
    assert likeliest is not None
    probability = answer.probabilities[likeliest]
    probabilities = dict(answer.probabilities)
    return {"file": str(answer.path), "class": likeliest, "probability": probability, "probabilities": probabilities}


def _write_csv(path: Path, answers: Sequence[Answer], classes: Sequence[str], *, say: bool) -> None:
    """Write one row per file, with all probabilities or the reason of the failure."""
    rows: list[list[object]] = [["file", "class", "probability", *(f"probability_{name}" for name in classes), "error"]]
    for answer in answers:
        shares = [answer.probabilities.get(name) for name in classes]
        likeliest = answer.likeliest
        highest = None if likeliest is None else answer.probabilities[likeliest]
        rows.append([one_line(str(answer.path)), likeliest, highest, *shares, answer.error])
    try:
        write_text(path, csv_text(rows))
    except OSError as error:
        raise ConfigError(f"--csv {path}: cannot be written ({error.strerror})") from error
    if say:
        counts = Counter(answer.likeliest for answer in answers if answer.likeliest is not None)
        found = ", ".join(f"{count:,} {name}" for name, count in counts.most_common())
        print(printable(f"{counted(len(answers), 'row')} written to {path}: {found}"))


def _say_failures(answers: Sequence[Answer], named: Sequence[Path]) -> int:
    """Print a line on stderr for each unreadable named file, and one for all those in folders; return the exit code."""
    failed = [answer for answer in answers if answer.error is not None]
    own = [answer for answer in answers[: len(named)] if answer.error is not None]
    skipped = failed[len(own) :]
    for answer in own:
        print(f"nasrun: {printable(str(answer.error))}", file=sys.stderr)
    if skipped:
        reasons = ", ".join(f"{answer.path} ({answer.reason})" for answer in skipped[:NAMED])
        more = ", ..." if len(skipped) > NAMED else ""
        of = f"{len(skipped):,} of {counted(len(answers) - len(named), 'image')}"
        print(f"nasrun: {of} skipped: {printable(reasons)}{more}", file=sys.stderr)
    return 2 if own or len(failed) == len(answers) else 0


def _from_run(directory: Path) -> tuple[Network, dict[str, Any]]:
    """The winner of a run."""
    from nasrun.export.model_card import info
    from nasrun.export.network import load_network, outputs_of

    network = load_network(directory, None)
    if network.stored.doubt is not None:
        print(f"nasrun: {printable(network.stored.doubt)}", file=sys.stderr)
    return lambda images: outputs_of(network.model, images), info(network)


def _exported(folder: Path) -> tuple[Network, dict[str, Any]]:
    """The network of an export folder, built by its search space or run by onnxruntime. No code in the folder is
    executed."""
    info = _read_info(folder)
    target = str(info["search_space"].get("_target_", ""))
    # A user's class is not imported, because the file could name any module.
    if (folder / "model.safetensors").is_file() and target.startswith("nasrun."):
        return _rebuilt(folder / "model.safetensors", info), info
    if not (folder / "model.onnx").is_file():
        what = "neither model.safetensors nor model.onnx"
        if (folder / "model.safetensors").is_file():
            what = f"no model.onnx, which is needed for your own search space ({target})"
        raise ConfigError(f"{folder}: has {what}; create it with nasrun export")
    try:
        import onnxruntime
    except ImportError:
        raise ConfigError("predict: model.onnx needs onnxruntime; install nasrun[export]") from None
    try:
        session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common base class
        raise ConfigError(f"{folder / 'model.onnx'}: cannot be read ({error_line(error)})") from None
    return lambda images: np.asarray(session.run(None, {"images": images})[0]), info


def _read_info(folder: Path) -> dict[str, Any]:
    """The content of `export.json`; ConfigError if something is missing."""
    path = folder / "export.json"
    if not path.is_file():
        raise ConfigError(f"{folder}: neither a run directory nor an export (it has no export.json){runs_in(folder)}")
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
    from nasrun.checkpoints.winner import build_for
    from nasrun.config.search_space import space_of
    from nasrun.core import Task
    from nasrun.export.network import Deployed, outputs_of
    from nasrun.training.mirrored import MirrorAverage

    try:
        space = space_of(info)
        task = Task(**info["task"])
        network = build_for(space, space.parse(info["genome"]), task, info.get("pad_to"))
        network = MirrorAverage(network) if info.get("test_flip") else network
        model = Deployed(network, [0.0] * task.channels, [1.0] * task.channels)
        model.load_state_dict(load_weights(path))
    except Exception as error:  # readers raise many error types on damaged files
        raise ConfigError(f"{path}: cannot be used ({error_line(error)})") from None
    model.eval()
    return lambda images: outputs_of(model, images)
