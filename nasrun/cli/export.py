"""`nasrun export DIR`: the network that a run found, as files for other programs, each checked on the test set."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nasrun.cli.arguments import Arguments
from nasrun.core.options import ConfigError
from nasrun.core.output import show
from nasrun.reports.summary import nearby

USAGE = "nasrun export DIR [--trial N] [--format onnx|pt2|safetensors|python|all] [--out FOLDER]"


class ExportError(Exception):
    """An export that does not do what the network does; the text says what differs, in one line."""


def export(words: Sequence[str]) -> None:
    """Write what the words of the command line ask for, with a model card; by default all formats into DIR/export.

    ConfigError where there is nothing to export; ExportError where a file does not agree with the network.
    """
    parser = Arguments("export", USAGE, __doc__)
    parser.add_argument("directory", type=Path, metavar="DIR", help="a run directory")
    parser.add_argument("--trial", type=int, help="a trial whose weights were kept, in place of the winner")
    parser.add_argument("--format", default="all", help="onnx | pt2 | safetensors | python | all")
    parser.add_argument("--out", type=Path, help="where the files go; by default DIR/export, or DIR/export_trialN")
    arguments = parser.parse_args(list(words))
    formats = ("onnx", "pt2", "safetensors", "python")
    if arguments.format not in (*formats, "all"):
        raise ConfigError(f"--format {arguments.format}: unknown; known: {', '.join(formats)}, all")
    if not arguments.directory.is_dir():
        raise ConfigError(f"{arguments.directory}: no such directory; usage: {USAGE}")
    name = "export" if arguments.trial is None else f"export_trial{arguments.trial}"
    out = arguments.out or arguments.directory / name
    chosen = formats if arguments.format == "all" else (arguments.format,)
    try:
        _write(arguments.directory, arguments.trial, chosen, out)
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written to ({error.strerror}); choose another: --out FOLDER") from error


def _write(directory: Path, trial: int | None, formats: Sequence[str], out: Path) -> None:
    """Write and check the formats; the model card last. One format that cannot be written is an error, among others it
    is left out."""
    from nasrun.export import model_card as papers
    from nasrun.export.formats import WRITERS, FormatError
    from nasrun.export.network import agreement, json_of, load_network, measured_again, outputs_of
    from nasrun.storage.records import write_text

    network = load_network(directory, trial)
    images, splits = network.splits.test.images, network.splits
    expected = outputs_of(network.model, images)
    out.mkdir(parents=True, exist_ok=True)
    for stale in (papers.CARD, papers.INFO, *(file for file, _ in WRITERS.values())):
        (out / stale).unlink(missing_ok=True)
    written = [papers.Written("PyTorch", 0, None, papers.latencies("PyTorch", network.model, images))]
    for name in formats:
        file, write = WRITERS[name]
        try:
            function = write(network, out)
        except FormatError as error:
            if len(formats) == 1:
                raise ConfigError(f"--format {name}: {error}") from error
            written.append(papers.Written(file, 0, None, (), str(error)))
            print(f"nasrun: {file} left out: {error}", file=sys.stderr)
            continue
        found = agreement(expected, outputs_of(function, images), max(splits.target_std, default=1.0))
        if not found.complete:
            (out / file).unlink()
            raise ExportError(f"{file}: does not agree with the network on the test set ({_said(found)})")
        speed = papers.latencies("onnxruntime", function, images) if name == "onnx" else []
        written.append(papers.Written(file, (out / file).stat().st_size, found, speed))
        show(f"{file:<18} {(out / file).stat().st_size:>12,} bytes  {_said(found)}")
    test = {}
    if network.final and not network.model.regression:
        right = int((expected.argmax(1) == splits.test.labels).sum())
        test["of these files, in fp32"] = f"{right / len(images):.4f} ({right:,} of {len(images):,})"
        again, precision = measured_again(network), network.run.header["facts"].get("runtime", {}).get("precision")
        if again:
            again_right = round(again["test_accuracy"] * len(images))
            shown = f"{again['test_accuracy']:.4f} ({again_right:,} of {len(images):,})"
            test[f"measured again in the precision of the run, {precision}"] = shown
        for how, value in test.items():
            show(f"test accuracy      {value}, {how}")
    write_text(out / papers.INFO, json_of(papers.info(network)))
    write_text(out / papers.CARD, papers.card(network, written, " ".join(["nasrun", *sys.argv[1:]]), test))
    show(f"{papers.CARD} and {papers.INFO} written to {nearby(out)}")


def _said(found: Mapping[str, Any]) -> str:
    """How a file did on the test images, in words."""
    difference = f"largest difference {found['largest_difference']:.2g}"
    if "same_class" not in found:
        return difference
    ties = f" ({found['ties']} ties)" if found["ties"] else ""
    return f"same class for {found['same_class']:,} of {found['images']:,} test images{ties}, {difference}"
