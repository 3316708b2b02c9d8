"""`nasrun export DIR`: writes the network of a run as files for other programs and verifies each of them."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasrun.cli.arguments import Arguments
from nasrun.core.options import ConfigError, printable
from nasrun.core.output import show
from nasrun.reports.summary import nearby

if TYPE_CHECKING:
    import numpy as np

    from nasrun.export.images import Images
    from nasrun.export.int8 import Quantised
    from nasrun.export.model_card import Written
    from nasrun.export.network import RunNetwork

USAGE = (
    "nasrun export DIR [--trial N] [--format onnx|pt2|safetensors|python|all] [--int8] [--out FOLDER] "
    "[--no-data | dataset.path=PATH]"
)
FORMATS = ("onnx", "pt2", "safetensors", "python")


class ExportError(Exception):
    """An exported file whose outputs differ from the network's; the text says how, in one line."""


def export(words: Sequence[str]) -> int:
    """Write the requested formats and a model card; by default all formats to DIR/export.

    Returns the exit code: 2 if the data differ from those of the run, so that nothing was measured on them. ConfigError
    if there is nothing to export; ExportError if a file does not agree with the network.
    """
    from nasrun.config.overrides import as_values

    parser = Arguments("export", USAGE, __doc__)
    parser.add_argument("directory", type=Path, metavar="DIR", help="a run directory")
    where = "new location of the run's data: dataset.path=PATH or dataset.root=PATH"
    parser.add_argument("places", nargs="*", default=[], metavar="KEY=PATH", help=where)
    parser.add_argument("--trial", type=int, help="export a trial whose weights were kept, instead of the winner")
    parser.add_argument("--format", default="all", help="onnx | pt2 | safetensors | python | all")
    parser.add_argument("--int8", action="store_true", help="also write model_int8.onnx, calibrated on training images")
    parser.add_argument("--out", type=Path, help="output folder; default: DIR/export, or DIR/export_trialN")
    parser.add_argument("--no-data", action="store_true", help="do not use the run's data; nothing is measured on them")
    arguments = parser.parse_intermixed_args(list(words))
    if arguments.format not in (*FORMATS, "all"):
        raise ConfigError(f"--format {arguments.format}: unknown; known: {', '.join(FORMATS)}, all")
    if not arguments.directory.is_dir():
        raise ConfigError(f"{arguments.directory}: no such directory; usage: {USAGE}")
    places = as_values(arguments.places)
    if places and arguments.no_data:
        raise ConfigError(f"--no-data {arguments.places[0]}: only one of these")
    if arguments.int8 and (arguments.no_data or arguments.format not in ("onnx", "all")):
        other = "--no-data" if arguments.no_data else f"--format {arguments.format}"
        raise ConfigError(f"--int8 {other}: model.onnx is quantised by the run's training images; leave out {other}")
    name = "export" if arguments.trial is None else f"export_trial{arguments.trial}"
    out = arguments.out or arguments.directory / name
    chosen = FORMATS if arguments.format == "all" else (arguments.format,)
    network, images = _opened(arguments.directory, arguments.trial, None if arguments.no_data else places)
    if arguments.int8:
        _check_int8(network, images)
    try:
        _write(network, images, chosen, out, int8=arguments.int8)
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written to ({error.strerror}); choose another: --out FOLDER") from error
    return _remark(network, images)


def _opened(directory: Path, trial: int | None, places: Mapping[str, Any] | None) -> "tuple[RunNetwork, Images]":
    """The network, and the images on which its files are compared. `places`: new locations of its data; None: do not
    use the data."""
    from nasrun.export.images import images_of_run, random_images
    from nasrun.export.network import load_network

    network = load_network(directory, trial)
    return network, random_images(network.task) if places is None else images_of_run(network.stored, places)


def _check_int8(network: "RunNetwork", images: "Images") -> None:
    """ConfigError if a network cannot be quantised."""
    if network.model.regression:
        raise ConfigError("--int8: is only for classification; this network solves a regression task")
    if images.splits is None:
        raise ConfigError(f"--int8: needs the run's training images; {images.reason}")


def _remark(network: "RunNetwork", images: "Images") -> int:
    """Print, in one line, why nothing was measured or what could not be checked; return the exit code."""
    if images.reason is not None:
        how = f"{images.reason}; the files were compared on random images"
        advice = "to export without the data, add --no-data"
        if images.movable is not None:
            advice = f"if its data were moved, add {images.movable}=PATH; {advice}"
        print(f"nasrun: test accuracy not measured: {printable(how)}; {advice}", file=sys.stderr)
    elif network.stored.doubt is not None:
        print(f"nasrun: {printable(network.stored.doubt)}", file=sys.stderr)
    return 2 if images.changed else 0


def _write(network: "RunNetwork", images: "Images", formats: Sequence[str], out: Path, *, int8: bool) -> None:
    """Write and check the formats, then the model card."""
    from nasrun.export import model_card as papers
    from nasrun.export.formats import WRITERS
    from nasrun.export.int8 import INT8
    from nasrun.export.network import json_of, outputs_of
    from nasrun.storage.records import write_text

    out.mkdir(parents=True, exist_ok=True)
    for stale in (papers.CARD, papers.INFO, INT8, *(file for file, _ in WRITERS.values())):
        (out / stale).unlink(missing_ok=True)
    expected = outputs_of(network.model, images.images)
    written = _write_formats(network, images, expected, formats, out)
    quantised = _quantised(network, images, expected, out) if int8 else None
    test = _tested(network, images, expected)
    for how, value in test.items():
        show(f"test accuracy      {value}, {how}")
    papers.write_test_files(network, out)
    write_text(out / papers.INFO, json_of(papers.info(network)))
    command = " ".join(["nasrun", *sys.argv[1:]])
    write_text(out / papers.CARD, papers.card(network, written, command, test, images, quantised))
    show(f"{papers.CARD} and {papers.INFO} written to {nearby(out)}")


def _write_formats(
    network: "RunNetwork", images: "Images", expected: "np.ndarray", formats: Sequence[str], out: Path
) -> "list[Written]":
    """Write formats and compare their outputs with `expected`, the outputs of the network in PyTorch.

    A format that cannot be written is an error if it is the only one; otherwise it is omitted.
    """
    from nasrun.export.formats import WRITERS, FormatError
    from nasrun.export.model_card import Written, latencies
    from nasrun.export.network import agreement, outputs_of

    written = [Written("PyTorch", 0, None, latencies("PyTorch", network.model, images.images))]
    for name in formats:
        file, write = WRITERS[name]
        try:
            function = write(network, out)
        except FormatError as error:
            if len(formats) == 1:
                raise ConfigError(f"--format {name}: {error}") from error
            written.append(Written(file, 0, None, (), str(error)))
            print(f"nasrun: {file} left out: {error}", file=sys.stderr)
            continue
        found = agreement(expected, outputs_of(function, images.images), max(network.data.target_std, default=1.0))
        if not found.complete:
            (out / file).unlink()
            said = _said(found, images.kind)
            raise ExportError(f"{file}: does not agree with the network on the {images.kind} ({said})")
        speed = latencies("onnxruntime", function, images.images) if name == "onnx" else []
        written.append(Written(file, (out / file).stat().st_size, found, speed))
        show(f"{file:<18} {(out / file).stat().st_size:>12,} bytes  {_said(found, images.kind)}")
    return written


def _quantised(network: "RunNetwork", images: "Images", expected: "np.ndarray", out: Path) -> "Quantised":
    """Write `model_int8.onnx` and print the loss of accuracy."""
    from nasrun.export.formats import FormatError
    from nasrun.export.int8 import INT8, POINT, quantise

    assert images.splits is not None
    try:
        found = quantise(network, images.splits, out, expected)
    except FormatError as error:
        raise ExportError(f"{INT8}: {error}") from error
    fp32, whole = found.test or found.validation
    on = "test" if found.test else "validation"
    size = found.path.stat().st_size
    show(f"{INT8:<18} {size:>12,} bytes  {on} accuracy {whole:.4f}, in fp32 {fp32:.4f}; {found.how}")
    if len(found.tried) > 1:
        lost = ", then ".join(f"{points:.2f} points ({words})" for words, points in found.tried)
        show(f"{INT8} lost on the validation images: {lost}; the best one is kept")
    if found.lost > 100 * POINT:
        print(f"nasrun: {INT8} loses {found.lost:.2f} points of {on} accuracy; use model.onnx", file=sys.stderr)
    return found


def _tested(network: "RunNetwork", images: "Images", expected: "np.ndarray") -> dict[str, str]:
    """The test accuracy of the winner of a classification, by method of measurement; empty without the run's data."""
    from nasrun.export.network import measured_again

    splits = images.splits
    if splits is None or not network.final or network.model.regression:
        return {}
    count = len(splits.test)
    right = int((expected.argmax(1) == splits.test.labels).sum())
    test = {"of these files, in fp32": f"{right / count:.4f} ({right:,} of {count:,})"}
    again = measured_again(network, splits)
    if again:
        precision = network.stored.header.facts.get("runtime", {}).get("precision")
        again_right = round(again["test_accuracy"] * count)
        shown = f"{again['test_accuracy']:.4f} ({again_right:,} of {count:,})"
        test[f"measured again in the precision of the run, {precision}"] = shown
    return test


def _said(found: Mapping[str, Any], kind: str) -> str:
    """The agreement of a file with the network, in words."""
    difference = f"largest difference {found['largest_difference']:.2g}"
    if "same_class" not in found:
        return difference
    ties = f" ({found['ties']} ties)" if found["ties"] else ""
    return f"same class for {found['same_class']:,} of {found['images']:,} {kind}{ties}, {difference}"
