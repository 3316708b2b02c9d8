"""The model card of an export: `MODEL_CARD.md` for readers and `export.json` for `nasrun predict`."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from nasrun import __version__
from nasrun.core.environment import describe_environment
from nasrun.core.words import counted
from nasrun.datasets.mapped import Images as SomeImages
from nasrun.export.formats import ONNX, onnx_function
from nasrun.export.images import Images
from nasrun.export.int8 import Quantised
from nasrun.export.network import Agreement, Function, RunNetwork
from nasrun.hardware.latency import times_of
from nasrun.reports.baseline import baseline_in_words, describe_baseline
from nasrun.reports.plot_style import save_figure
from nasrun.reports.summary import choice_of, number
from nasrun.reports.tables import COUNTS, markdown, one_line
from nasrun.reports.tested import BINS, CLASSES, CONFUSION, WinnerTest, read_tested, write_test_tables
from nasrun.reports.tested_plots import draw_test

INFO = "export.json"
CARD = "MODEL_CARD.md"
TEST_TABLES, TEST_PICTURES = (CLASSES, CONFUSION), ("test_confusion.png", "test_mistakes.png")
LATENCY_SECONDS = 0.5


class Latency(NamedTuple):
    """Latency of a call with `batch` images in milliseconds: number of calls, median, first and third quartile."""

    what: str
    batch: int
    calls: int
    median: float
    first: float
    third: float


class Written(NamedTuple):
    """A file of an export. `reason`: why it was omitted; otherwise `agreement` and `latencies` are set."""

    file: str
    size: int
    agreement: Agreement | None
    latencies: Sequence[Latency]
    reason: str | None = None


def latencies(what: str, function: Function, images: SomeImages) -> list[Latency]:
    """Measure the latency of one image and of a batch of up to 64: 20 to 200 calls each, within about half a second if
    that allows 20, after five warm-up calls."""
    found = []
    for size in sorted({1, min(64, len(images))}):
        batch = torch.from_numpy(images[:size].copy())
        with torch.inference_mode():
            times = times_of(partial(function, batch), LATENCY_SECONDS)
        first, median, third = statistics.quantiles(times, n=4)
        found.append(Latency(what, size, len(times), median, first, third))
    return found


def info(network: RunNetwork) -> dict[str, Any]:
    """What `nasrun predict` needs: the task, the classes, the preparation of images, the architecture."""
    config, task = network.stored.benchmark.config, network.task
    return {
        "nasrun": __version__,
        "task": dict(vars(task)),
        "pad_to": network.pad_to,
        "test_flip": network.test_flip,
        "data": network.data.fingerprint,
        "classes": list(network.data.classes),
        "resize": config["dataset"].get("resize", "crop"),
        "search_space": config["search_space"],
        "genome": network.genome,
        "trial": network.record.trial.number,
    }


def card(
    network: RunNetwork,
    files: Sequence[Written],
    command: str,
    test: Mapping[str, str],
    images: Images,
    quantised: Quantised | None = None,
) -> str:
    """The model card in Markdown. `test`: results on the test set for this export, by method; empty without the data of
    the run, and for trials other than the winner, which must not be evaluated on the test set. `images`: those on which
    the files were compared."""
    benchmark, task, data = network.stored.benchmark, network.task, network.data
    tested = _tested(network)
    environment, directory = network.stored.header.environment, network.stored.directory
    chosen = "the winner of the search" if network.final else f"trial {network.record.trial.number} of the search"
    parts = [
        f"# {task.name}: a network found by nasrun\n",
        f"{chosen[:1].upper()}{chosen[1:]} in `{markdown(directory.name)}`, seed {benchmark.options.seed}.\n",
        "| | |\n|---|---|\n" + "".join(f"| {name} | {markdown(value)} |\n" for name, value in _facts(network)),
        "## Measured\n",
        _measured(network, test, images),
        *(["## By class\n", _by_class(tested)] if tested is not None else []),
        "## Files\n",
        _files(files, images.kind),
        *(["## In int8\n", _int8(network, quantised, images.images)] if quantised is not None else []),
        "## Latency\n",
        _latency(files),
        "## Made by\n",
        f"    {one_line(' '.join(environment.get('command') or []))}\n    {one_line(command)}\n",
        markdown(f"nasrun {environment.get('nasrun')}, commit {environment.get('commit') or 'unknown'}.") + "\n",
    ]
    if data.classes:
        names = "".join(f"| {number} | {markdown(name)} |\n" for number, name in enumerate(data.classes))
        parts += ["## Classes\n", f"| output | class |\n|---|---|\n{names}"]
    return "\n".join(parts)


def _facts(network: RunNetwork) -> list[tuple[str, str]]:
    """Properties, input and output of a network, as names and values."""
    task, data, final = network.task, network.data, network.stored.records.final
    trained = (final.result.get("trained_on") if final else None) if network.final else "the search's weights"
    values = "values in original units" if task.kind == "regression" else "the logits of the classes"
    values += ", averaged over the image and its mirror image (built into the files)" if network.test_flip else ""
    shape = f"(batch, {task.channels}, {task.height}, {task.width})"
    counts = [data.counts.get(part, 0) for part in ("train", "validation", "test")]
    space = network.stored.benchmark.config["search_space"]
    return [
        ("architecture", f"`{network.genome}`"),
        ("search space", str(space.get("_target_", "")).rpartition(".")[2]),
        ("parameters", f"{network.cost.parameters:,}"),
        ("FLOPs of one image", f"{network.cost.flops:,} (a multiply-add counts as two{_twice(network)})"),
        ("input", f"uint8 {shape}, raw bytes: the normalisation is in the network"),
        ("output", values),
        ("data", f"{task.name}: {counts[0]:,} to train, {counts[1]:,} to validate, {counts[2]:,} to test"),
        ("data fingerprint", f"`{data.fingerprint}`"),
        ("trained on", str(trained or "")),
    ]


def write_test_files(network: RunNetwork, folder: Path) -> None:
    """Write tables and plots of the winner's test if the run has its predictions; delete those of an earlier export."""
    tested = _tested(network)
    for stale in (*TEST_TABLES, *TEST_PICTURES):
        (folder / stale).unlink(missing_ok=True)
    if tested is None:
        return
    write_test_tables(tested, folder)
    for name, figure in draw_test(tested).items():
        save_figure(figure, folder / f"{name}.png")


def _tested(network: RunNetwork) -> WinnerTest | None:
    return read_tested(network.stored.directory) if network.final else None


def _by_class(tested: WinnerTest) -> str:
    """The test results by class, with plots next to the card."""
    text = "| class | images | accuracy | 95 % interval | most often confused with |\n|---|---:|---:|---|---|\n"
    for one in tested.classes:
        interval = str(one.interval) if one.images else ""
        cells = (one.name, f"{one.images:,}", number(one.accuracy), interval, one.taken_for or "")
        text += f"| {' | '.join(map(markdown, cells))} |\n"
    pictures = "![Predictions of the network for the images of each class](test_confusion.png)\n"
    if len(tested.predictions.wrong):
        pictures += "\n![Wrong predictions with the highest confidence](test_mistakes.png)\n"
    return f"{text}\n{pictures}\nAs tables: `test_classes.csv`, `test_confusion.csv`. Intervals are Wilson's.\n"


def _sureness(network: RunNetwork) -> Iterator[str]:
    """The uncertainty of the test result and of the selection of this network."""
    tested = _tested(network)
    if tested is not None:
        yield f"test accuracy, 95 % interval: {tested.interval} ({tested.right:,} of {tested.images:,})"
        yield f"expected calibration error: {number(tested.calibration_error)} ({BINS} bins; 0: confidences are true)"
    run = network.stored.records
    if network.final and run.baseline is not None:
        yield f"known network at the same cost: {markdown(baseline_in_words(describe_baseline(run, tested)))}"
    choice = choice_of(network.stored.records, network.stored.benchmark.objective) if network.final else None
    if choice is not None:
        of, source = len(choice["of"]), choice["noise_from"]
        yield f"the best of {of} with probability {choice['probability']:.2f}, by the {source}"


def _twice(network: RunNetwork) -> str:
    return "; twice, for the image and its mirror image" if network.test_flip else ""


def _measured(network: RunNetwork, test: Mapping[str, str], images: Images) -> str:
    """The metrics of these weights in the run, and those measured again for the export."""
    lines = [
        f"- {name}: {number(value)} (in the run)\n" for name, value in network.metrics.items() if name not in COUNTS
    ]
    lines += [f"- {line}\n" for line in _sureness(network)]
    lines += [f"- test accuracy, {how}: {value}\n" for how, value in test.items()]
    if images.splits is None:
        why = f" ({markdown(images.reason)})" if images.reason else ""
        lines.append(f"- The data of the run were not used for this export{why}: nothing was measured again.\n")
    elif not network.final:
        lines.append("- The test set was used only to compare the files below with PyTorch.\n")
    return "".join(lines)


def _files(files: Sequence[Written], kind: str) -> str:
    regression = any(f.agreement is not None and "same_class" not in f.agreement for f in files)
    head = "largest difference" if regression else "same class | ties | largest difference"
    text = f"| file | bytes | {head} |\n|---|---:|{'---:|' * (1 if regression else 3)}\n"
    for entry in files:
        if entry.reason is not None:
            text += f"| {entry.file} | left out: {entry.reason} |{' |' * (1 if regression else 3)}\n"
        elif entry.agreement is not None:
            found = entry.agreement
            cells = [] if regression else [f"{found['same_class']:,} of {found['images']:,}", str(found["ties"])]
            cells.append(f"{found['largest_difference']:.2g}")
            text += f"| {entry.file} | {entry.size:,} | {' | '.join(cells)} |\n"
    if regression:
        return f"{text}\nLargest difference of any output value from the network in PyTorch (fp32), on {kind}.\n"
    return (
        f"{text}\nSame class: {kind} for which the file and the network in PyTorch (fp32) predict the same class. "
        "Ties are images whose two best classes are closer than the rounding.\n"
    )


def _int8(network: RunNetwork, found: Quantised, images: SomeImages) -> str:
    """A comparison of the quantised file with the one in fp32: accuracy, bytes, milliseconds."""
    on = "test" if found.test is not None else "validation"
    text = (
        f"| file | bytes | {on} accuracy | ms of 1 image | ms of {min(64, len(images))} |\n|---|---:|---:|---:|---:|\n"
    )
    paths = (found.path.with_name(ONNX), found.path)
    for path, accuracy in zip(paths, found.test or found.validation, strict=True):
        speeds = [f"{one.median:.3g}" for one in latencies(path.name, onnx_function(path), images)]
        speeds = [speeds[0], speeds[-1]]
        text += f"| {path.name} | {path.stat().st_size:,} | {accuracy:.4f} | {' | '.join(speeds)} |\n"
    tried = "; ".join(f"{words}: {points:.2f} points" for words, points in found.tried)
    return (
        f"{text}\nQuantised by onnxruntime, {found.how}; calibrated on training images. Loss on validation images, by "
        f"which the method was chosen: {tried}. Medians, by onnxruntime on this machine.\n"
    )


def _latency(files: Sequence[Written]) -> str:
    environment = describe_environment()
    text = (
        f"On this machine: {environment['processor']}, {counted(torch.get_num_threads(), 'thread')}, "
        f"PyTorch {torch.__version__}. Milliseconds of a call; the spread is from the first to the third quartile.\n\n"
        "| run by | images | calls | median | spread |\n|---|---:|---:|---:|---|\n"
    )
    for entry in files:
        for found in entry.latencies:
            spread = f"{found.first:.3g} to {found.third:.3g}"
            text += f"| {found.what} | {found.batch} | {found.calls} | {found.median:.3g} | {spread} |\n"
    return text
