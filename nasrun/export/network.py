"""The trained network of a run, including the normalisation of its data.

Imported only for exports and predictions, because it imports torch.
"""

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nasrun.checkpoints.archive import read_info
from nasrun.checkpoints.store import CheckpointStore, load_weights
from nasrun.checkpoints.winner import FILE, build_for, read_winner
from nasrun.config.build import Benchmark
from nasrun.config.stored_run import StoredRun, open_run
from nasrun.core import Cost, SearchSpace, Task
from nasrun.core.options import ConfigError, error_line
from nasrun.datasets import Splits
from nasrun.datasets.mapped import Images as SomeImages
from nasrun.datasets.record import DataRecord, record_of
from nasrun.storage.records import RunRecords, TrialRecord
from nasrun.storage.run_directory import how_to_continue
from nasrun.training.mirrored import MirrorAverage

BATCH = 256
"""Batch size for the comparison of outputs."""

Function = Callable[[Tensor], Tensor]


class Deployed(nn.Module):
    """A network for raw images: uint8 (batch, channels, height, width).

    Returns logits, float (batch, classes); for regression (batch, outputs, height, width), values in original units.
    """

    scale: Tensor
    offset: Tensor
    target_scale: Tensor
    target_offset: Tensor

    def __init__(
        self,
        network: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        target_mean: Sequence[float] = (),
        target_std: Sequence[float] = (),
    ) -> None:
        """`mean`, `std`, `target_mean`, `target_std`: as in `Splits`."""
        super().__init__()
        self.network = network
        deviation = torch.tensor(std).view(1, -1, 1, 1)
        self.register_buffer("scale", 1 / (255 * deviation))
        self.register_buffer("offset", -torch.tensor(mean).view(1, -1, 1, 1) / deviation)
        self.regression = bool(target_mean)
        if self.regression:
            self.register_buffer("target_scale", torch.tensor(target_std).view(1, -1, 1, 1))
            self.register_buffer("target_offset", torch.tensor(target_mean).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.network(images.to(torch.float32) * self.scale + self.offset)
        return outputs * self.target_scale + self.target_offset if self.regression else outputs


@dataclass(frozen=True)
class RunNetwork:
    """A trained network of a run with its metadata.

    `data`: the record of its training data. `final`: whether it is the winner after its final training. `test_flip`:
    whether outputs are averaged over an image and its mirror image, as in the run.
    """

    stored: StoredRun
    record: TrialRecord
    model: Deployed
    data: DataRecord
    final: bool
    test_flip: bool

    @property
    def space(self) -> SearchSpace:
        """The search space of its architecture."""
        return self.stored.benchmark.space

    @property
    def task(self) -> Task:
        """The task."""
        return self.data.task

    @property
    def pad_to(self) -> int | None:
        """Height and width to which smaller images are padded."""
        return self.stored.benchmark.evaluator.pad_to

    @property
    def genome(self) -> str:
        """The architecture in the format of its space."""
        return self.space.format(self.record.trial.proposal.genome)

    @property
    def cost(self) -> Cost:
        """Parameters and FLOPs of one input, including its mirror image with `test_flip`."""
        parameters, flops = self.space.cost(self.record.trial.proposal.genome, self.task.enlarged(self.pad_to))
        return Cost(parameters, flops * (2 if self.test_flip else 1))

    @property
    def metrics(self) -> Mapping[str, float]:
        """Metrics of these weights in the run: the test metrics of the winner, or those of the trial."""
        if self.final:
            return self.stored.records.final_metrics
        names = sorted({name for m in self.record.measurements for name in m.metrics})
        means = {name: self.record.mean(name) for name in names}
        return {name: value for name, value in means.items() if value is not None}


def load_network(directory: Path, trial: int | None, stored: StoredRun | None = None) -> RunNetwork:
    """The winner of a finished run, or the first repeat of a trial whose weights were kept.

    `stored`: the run, if it is already open. Data are read only if the run did not record them. ConfigError, in one
    line, if the weights do not exist, or if the data are needed and cannot be read.
    """
    stored = stored or open_run(directory)
    run = stored.records
    record, path = _kept_trial(directory, run, trial) if trial is not None else _winner(directory, run)
    data = stored.data
    if data is None:
        stored.benchmark.dataset.load()
        data = record_of(stored.benchmark.dataset)
    model, test_flip = _deployed(stored.benchmark, data, record, path)
    return RunNetwork(stored, record, model, data, trial is None, test_flip)


def measured_mirrored(path: Path) -> bool:
    """Whether the outputs of a network in a run were averaged over an image and its mirror image."""
    if path.name == FILE.name:
        about = read_winner(path)
        return about is not None and about.test_flip
    return bool(read_info(path).hparams.get("test_flip"))


def _winner(directory: Path, run: RunRecords) -> tuple[TrialRecord, Path]:
    """The record and the weights file of the winner."""
    path = directory / "best" / "model.safetensors"
    if run.final is None or run.final.trial is None or not path.is_file():
        kept = _kept(directory, run)
        trials = f"; --trial exports a trial: {_listed(kept)}" if kept else ""
        if run.end is None or not run.end.complete:
            raise ConfigError(f"{directory}: the run is not finished; {how_to_continue(directory)}{trials}")
        raise ConfigError(
            f"{path}: no such file; only runs that train networks leave weights (evaluator=train){trials}"
        )
    return run.trials[run.final.trial], path


def _kept_trial(directory: Path, run: RunRecords, number: int) -> tuple[TrialRecord, Path]:
    """The record of a trial and the weights file of its first repeat, or of the trial whose result it copied."""
    kept = _kept(directory, run)
    if number not in run.trials:
        raise ConfigError(f"trial {number}: no such trial; weights exist for {_listed(kept)}")
    source = run.trials[number].trial.proposal.reuse_of
    source = number if source is None else source
    if source not in kept:
        raise ConfigError(
            f"trial {number}: its weights were not kept, only those of {_listed(kept)}; output.keep=all keeps all"
        )
    return run.trials[number], CheckpointStore(directory, "none").files(source)[0]


def _kept(directory: Path, run: RunRecords) -> list[int]:
    store = CheckpointStore(directory, "none")
    return [number for number in sorted(run.trials) if store.files(number)]


def _listed(trials: list[int]) -> str:
    shown = ", ".join(map(str, trials[:20])) + (", ..." if len(trials) > 20 else "")
    return f"trials {shown}" if trials else "no trial"


def _deployed(benchmark: Benchmark, data: DataRecord, record: TrialRecord, path: Path) -> tuple[Deployed, bool]:
    """The network of a trial with the weights of a file and the normalisation of its data, and whether it averages over
    an image and its mirror image."""
    genome, task = record.trial.proposal.genome, data.task
    try:
        test_flip = measured_mirrored(path)
        network = build_for(benchmark.space, genome, task, benchmark.evaluator.pad_to, load_weights(path))
        network = MirrorAverage(network, task.kind == "regression") if test_flip else network
        model = Deployed(network, data.mean, data.std, data.target_mean, data.target_std)
    except Exception as error:  # readers raise many error types on damaged files
        raise ConfigError(f"{path}: not the weights of this network ({error_line(error)})") from None
    return model.eval(), test_flip


def measured_again(network: RunNetwork, splits: Splits) -> Mapping[str, float]:
    """The test metrics of the winner, measured as in the run, in its precision and on its data; empty if not possible
    here."""
    from nasrun.hardware.devices import Runtime
    from nasrun.training.data import DeviceData
    from nasrun.training.single import measure

    record = network.stored.header.facts.get("runtime")
    if not network.final or record is None or (record["device"] == "cuda" and not torch.cuda.is_available()):
        return {}
    runtime = Runtime.from_record(record)
    model = runtime.place(copy.deepcopy(network.model.network))
    found = measure(model, DeviceData(splits, runtime.device), "test", runtime)
    return {f"test_{name}": value for name, value in found.items()}


def outputs_of(function: Function, images: SomeImages) -> np.ndarray:
    """The outputs of a function for images uint8 (N, C, H, W), computed in batches, as one array."""
    with torch.inference_mode():
        parts = [
            function(torch.from_numpy(images[start : start + BATCH])).numpy() for start in range(0, len(images), BATCH)
        ]
    return np.concatenate(parts)


class Agreement(dict[str, Any]):
    """Agreement of the outputs of an exported file with PyTorch's on the same images: `images`, `largest_difference`,
    for classification `same_class` and `ties` (images whose two best classes are closer than the rounding)."""

    @property
    def complete(self) -> bool:
        """True if all images get the same class (except for ties), or values that differ only by rounding."""
        return bool(self["same"])


def agreement(expected: np.ndarray, found: np.ndarray, scale: float = 1.0) -> Agreement:
    """Compare outputs (N, classes), or (N, outputs, height, width) in units with standard deviation `scale`."""
    if expected.shape != found.shape or not np.isfinite(found).all():
        return Agreement(images=len(expected), same=False, largest_difference=float("inf"))
    largest = float(np.abs(expected - found).max())
    if expected.ndim > 2:
        return Agreement(images=len(expected), same=largest <= 1e-3 * scale, largest_difference=largest)
    other = expected.argmax(1) != found.argmax(1)
    best = np.sort(expected, axis=1)
    ties = other & (best[:, -1] - best[:, -2] <= 2 * min(largest, 1e-3 * float(np.abs(expected).max())))
    return Agreement(
        images=len(expected),
        same=bool((other == ties).all()),
        same_class=int((~other).sum()),
        ties=int(ties.sum()),
        largest_difference=largest,
    )


def json_of(content: Mapping[str, Any]) -> str:
    """Content as the text of a JSON file."""
    return json.dumps(content, indent=2) + "\n"
