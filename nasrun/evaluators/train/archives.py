"""How evaluator `train` keeps a network as an archive, and continues from one. torch is imported when that is done."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nasrun.checkpoints import archive as archives
from nasrun.checkpoints.store import averaged, inherit, load_weights
from nasrun.checkpoints.winner import Winner
from nasrun.core import Job, SearchSpace, Task
from nasrun.datasets import Dataset, Splits
from nasrun.storage.journal import OutputError
from nasrun.training.settings import TrainSettings

if TYPE_CHECKING:
    import torch

    from nasrun.training.outcomes import Training

STATE_OF = "optimizer"
"""The setting that decides whether an optimizer's state still means anything."""

INHERITED, LINEAGE = "inherited", "lineage_epochs"
"""Metrics of a training run that began with inherited weights: the share of its parameters that were the parent's, and
the epochs behind its weights, those of its ancestors included."""


def save_archive(
    job: Job,
    training: "Training",
    model: "torch.nn.Module",
    settings: TrainSettings,
    space: SearchSpace,
    task: Task,
    normalisation: Mapping[str, Any],
) -> None:
    """Write the archive of a job to where it says; of the training's state only what it gave.

    OutputError where it cannot be written: the run ends then, and measures this job again when it continues.
    """
    assert job.save_to is not None
    proposal = job.trial.proposal
    info = archives.Archive(
        genome=space.format(proposal.genome),
        # With early stopping these are the epochs of the weights, not of the training.
        epochs=int(training.metrics["epoch"]),
        hparams=vars(settings),
        metrics={name: value for name, value in training.metrics.items() if name not in ("epoch", "seconds")},
        history=[{name: value for name, value in row.items() if name != "seconds"} for row in training.history],
        task=task,
        section=space.section,
        trial=job.trial.number,
        repeat=job.repeat,
        seed=job.seed,
        parent=proposal.parent,
        partners=proposal.partners,
        **normalisation,
    )
    try:
        archives.save(Path(job.save_to), info, model.state_dict(), training.state)
    except OSError as error:
        raise OutputError(error.errno, error.strerror or str(error), job.save_to) from error


def normalisation_of(splits: Splits) -> dict[str, Any]:
    """What an archive says of how inputs are standardised, and for regression targets."""
    return {name: getattr(splits, name) for name in ("mean", "std", "target_mean", "target_std")}


def winner_of(job: Job, settings: TrainSettings, space: SearchSpace, dataset: Dataset) -> Winner:
    """What the file of the winner's weights tells of it."""
    splits, genome = dataset.load(), space.format(job.trial.proposal.genome)
    statistics = (splits.mean, splits.std, splits.classes)
    return Winner(genome, space.section, dataset.task, *statistics, test_flip=settings.test_flip)


class Beginning(NamedTuple):
    """What a training run begins with besides the weights: the epochs that count as behind them, the state of the
    parent's training where the new optimizer is of the same kind, and what the tables say of what was inherited."""

    epochs: int = 0
    state: "dict[str, torch.Tensor] | None" = None
    metrics: Mapping[str, float] = {}


def warm_start(
    model: "torch.nn.Module",
    job: Job,
    settings: TrainSettings,
    space: SearchSpace,
    images: "Callable[[], torch.Tensor]",
) -> Beginning:
    """Load the parent's weights where the proposal says so: as they are, averaged with those of its partners, or those
    that fit, or transformed into those of a larger network.

    `images`: some standardised images on the CPU, by which new layers are set up that pass on what they are given.
    """
    from nasrun.training.outcomes import TrainingError
    from nasrun.training.state import without_weights

    if job.load_from is None:
        return Beginning()
    path = Path(job.load_from)
    weights = load_weights(path)
    if job.trial.proposal.warm_start in ("inherit", "morph"):
        return Beginning(metrics=_inherited(model, job, space, weights, images))
    if job.partners:
        weights = averaged([weights, *(load_weights(Path(partner)) for partner in job.partners)])
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise TrainingError(
            f"cannot continue from the checkpoint of trial {job.trial.proposal.parent}: its architecture is another; "
            "propose warm_start=inherit, which takes the weights that fit"
        ) from error
    info = archives.read_info(path)
    goes_on = job.resumable and info.hparams.get(STATE_OF) == getattr(settings, STATE_OF)
    state = archives.read_optimizer(path) if goes_on else None
    if state is not None and job.partners:  # the weights to continue with are the mean of all
        state = without_weights(state)
    return Beginning(info.epochs, state)


def _inherited(
    model: "torch.nn.Module",
    job: Job,
    space: SearchSpace,
    weights: "Mapping[str, torch.Tensor]",
    images: "Callable[[], torch.Tensor]",
) -> dict[str, float]:
    """Give a network what it inherits of its parent; returns what the tables say of that."""
    path, proposal = Path(str(job.load_from)), job.trial.proposal
    info = archives.read_info(path) if path.suffix == ".zip" else None  # None: weights alone, of a winner
    own = {name: parameter.numel() for name, parameter in model.named_parameters()}
    if proposal.warm_start == "inherit":
        shapes = {name: weight.shape for name, weight in model.state_dict().items()}
        inherit(model, weights)
        count = sum(own[name] for name in own if name in weights and weights[name].shape == shapes[name])
    else:
        from nasrun.spaces.morphisms import calibrate

        assert info is not None, "a parent is kept as an archive, which tells its genome"
        count, passing = space.morph(space.parse(info.genome), proposal.genome, weights, model)
        if passing:
            calibrate(model, passing, images())
    lineage = {} if info is None else {LINEAGE: info.metrics.get(LINEAGE, info.epochs)}
    return {INHERITED: count / sum(own.values()), **lineage}
