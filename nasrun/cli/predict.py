"""`nasrun predict DIR IMAGE...`: what the network of a run, or of an export, says of the user's own image files.

Needs Pillow (`nasrun[images]`). Images are fitted as those of the data set were: in colour or grey, at its size.
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
from nasrun.core.options import ConfigError, check_value, printable
from nasrun.core.words import counted
from nasrun.datasets import DatasetError
from nasrun.datasets.image_files import SUFFIXES, ImageError, ImageReader, find_images
from nasrun.datasets.notes import describe_counts
from nasrun.reports.tables import csv_text, one_line
from nasrun.storage.records import write_text
from nasrun.storage.run_directory import holds_run, runs_in

USAGE = "nasrun predict DIR IMAGE_OR_FOLDER... [--top N] [--json] [--csv FILE]"
STREAM = Path("-")
"""In place of an image: the names of files are read from standard input, one a line."""
SHOWN = 3
"""Classes shown of each image unless more are asked for."""
BATCH = 256
"""Images that are in memory at a time."""
NAMED = 3
"""Files that a message names of many."""

Network = Callable[[np.ndarray], np.ndarray]
"""Images uint8 (N, channels, height, width) to logits (N, classes)."""


class Answer(NamedTuple):
    """What the network says of a file: the probability of each class, by name, the likeliest first; or why nothing.

    `error`: with what to do about it, `reason`: without.
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
    """Print the classes of the images that the words of the command line name; the exit code.

    A named file that cannot be read gets a line on stderr; the others are answered all the same, and the exit code is
    2. Of a folder, those that cannot be read are skipped and counted. ConfigError if there is no network, or the
    words make no sense.
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
    """The arguments of the command line; ConfigError if they make no sense."""
    parser = Arguments("predict", USAGE, __doc__)
    parser.add_argument("directory", type=Path, metavar="DIR", help="a run directory, or the folder of an export")
    what = "image files, folders of which all images are taken, those in folders below too, or - for names on stdin"
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE_OR_FOLDER", help=what)
    parser.add_argument("--top", type=int, default=SHOWN, help=f"classes shown of each image [{SHOWN}]")
    parser.add_argument("--json", action="store_true", help="all probabilities, as JSON")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="a table with a row for each image, in place of lines")
    arguments = parser.parse_intermixed_args(list(words))
    if arguments.top < 1:
        raise ConfigError(f"--top {arguments.top}: must be at least 1")
    if not arguments.directory.is_dir():
        raise ConfigError(f"{arguments.directory}: no such directory; usage: {USAGE}")
    if arguments.csv is not None and (arguments.csv.is_dir() or not arguments.csv.parent.is_dir()):
        raise ConfigError(f"--csv {arguments.csv}: expected a file in a folder that is there")
    if find_spec("PIL") is None:
        raise ConfigError("predict: needs Pillow; install nasrun[images]")
    return arguments


def _files(given: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """The files that were named, and the images in and below the folders that were, in the order of their names.

    Says what else is there. ConfigError if a folder holds no image, or standard input no name.
    """
    if STREAM in given:
        text = sys.stdin.read()
        lines = text.split("\0") if "\0" in text else text.splitlines()  # find -print0 ends names by zero bytes
        streamed = [Path(line) for line in lines if line.strip()]
        given = [*(path for path in given if path != STREAM), *streamed]
        if not given:
            raise ConfigError("predict -: no name on standard input; expected one file a line")
    named, found = [path for path in given if not path.is_dir()], []
    for folder in (path for path in given if path.is_dir()):
        images, others = find_images(folder)
        if not images:
            raise ConfigError(f"{folder}: holds no image; known kinds: {' '.join(SUFFIXES)}")
        if others:
            listed = printable(describe_counts(others))
            print(f"nasrun: {printable(str(folder))}: passed over: {listed}", file=sys.stderr)
        found += images
    return named, found


def _answers(files: Sequence[Path], network: Network, info: Mapping[str, Any]) -> Iterator[Answer]:
    """What the network says of each file, in their order."""
    task = info["task"]
    if task.get("kind") == "regression":
        raise ConfigError("predict: the network gives pictures, not classes; use the files of nasrun export")
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
    """A row for each file, with all probabilities, or the reason why there are none."""
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
    """A line on stderr for each named file that cannot be read, and one for all those in folders; the exit code."""
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
    """What `export.json` tells; ConfigError if it does not tell what is needed."""
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
    except Exception as error:  # readers raise many kinds on damaged files
        raise ConfigError(f"{path}: cannot be used ({' '.join(str(error).split())[:200]})") from None
    model.eval()
    return lambda images: outputs_of(model, images)
