"""The options of training: what the YAML of an evaluator may set, and what a proposal's `hparams` may change."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from nasrun.core.options import Above, AtLeast, Between, Fraction, Positive

ExtraMetric = Literal["balanced_accuracy", "macro_f1", "auc"]
"""What is measured of a classifier where it is asked for, beside accuracy and loss (`nasrun.training.metrics`)."""


@dataclass(kw_only=True, frozen=True)
class TrainSettings:
    """How one network is trained. Rates are per step, `patience` and `epochs` in passes over the training data.

    The schedule is laid over `schedule_epochs`, of which a shorter training sees the beginning; None: over `epochs`.
    `lr` is the peak of the schedule; None takes the optimizer's usual one (`DEFAULT_LR`). `warm_up`: the share of the
    steps over which the rate rises; None: that of the schedule (`nasrun.training.schedule`). Weight decay is on weights
    alone, with `decay_all` on biases and normalisation parameters too. `patience` stops when the validation accuracy
    (regression: the validation loss) has not improved for that many epochs and takes the best epoch's weights.
    `micro_batch`: images that go through the network at a time, in training and in measuring; the gradients of the
    parts of a batch add up to its own. `epoch_images`: images that count as an epoch, drawn anew for each; None: all
    that there are.

    `shift` moves an image by up to that many pixels in each direction, `flip` mirrors it left to right with probability
    one half; `cutout`, `random_erasing`, `mixup`, `cutmix`: see `nasrun.training.augmentation`. `ema`: what is measured
    and kept is a mean over the weights after each step, of which each step keeps that share (exponential moving
    average). `test_flip`: outputs are means over an image and its mirror image. `first_size`: images begin at that
    share of their sides and grow to their own (`nasrun.training.growing`).

    For classification alone: `label_smoothing`; `class_weights`, how much the images of each class count for the loss,
    the mean over all images being 1 (`balanced`: classes count alike); `sampling` balanced: an epoch has equally many
    images of every class, in_order: they come as the data set has them; `loss` nll: outputs are taken for logarithms of
    shares and not normalised, for networks that end in an activation; `teacher_weight`, `teacher_temperature`: see
    `nasrun.training.teacher`.
    """

    epochs: Positive = 2
    schedule_epochs: Positive | None = None
    batch_size: Positive = 128
    optimizer: Literal["sgd", "adam", "adamw", "adadelta"] = "adamw"
    lr: Annotated[float, Above(0)] | None = None
    momentum: Annotated[float, Between(0, 1, open_high=True)] = 0.9
    nesterov: bool = True
    schedule: Literal["constant", "cosine", "one_cycle", "linear"] = "one_cycle"
    warm_up: Annotated[float, Between(0, 1, open_high=True)] | None = None
    weight_decay: Annotated[float, AtLeast(0)] = 0.0
    decay_all: bool = False
    label_smoothing: Annotated[float, Between(0, 1, open_high=True)] = 0.0
    shift: Annotated[int, AtLeast(0)] = 0
    flip: bool = False
    cutout: Annotated[int, AtLeast(0)] = 0
    random_erasing: Fraction = 0.0
    mixup: Annotated[float, AtLeast(0)] = 0.0
    cutmix: Annotated[float, AtLeast(0)] = 0.0
    ema: Annotated[float, Between(0, 1, open_high=True)] = 0.0
    test_flip: bool = False
    first_size: Annotated[float, Between(0.25, 1)] = 1.0
    class_weights: Literal["none", "balanced"] | tuple[Annotated[float, Above(0)], ...] = "none"
    sampling: Literal["shuffled", "balanced", "in_order"] = "shuffled"
    loss: Literal["nll"] | None = None
    teacher_weight: Fraction = 0.5
    teacher_temperature: Annotated[float, Above(0)] = 2.0
    extra_metrics: tuple[ExtraMetric, ...] = ()
    clip_norm: Annotated[float, Above(0)] | None = None
    patience: Positive | None = None
    micro_batch: Positive | None = None
    epoch_images: Positive | None = None

    def __post_init__(self) -> None:
        if self.schedule_epochs is not None and self.schedule_epochs < self.epochs:
            raise ValueError(
                f"schedule_epochs={self.schedule_epochs}: the schedule would end before the training does; "
                f"null is right, or at least epochs={self.epochs}"
            )
        if self.loss == "nll" and (self.label_smoothing or self.mixup or self.cutmix):
            raise ValueError("loss=nll: takes whole labels; needs label_smoothing=0 mixup=0 cutmix=0")
        if (self.class_weights, self.sampling) == ("balanced", "balanced"):
            raise ValueError("sampling=balanced: makes up for rare classes already; needs class_weights=none")
        if self.test_flip and not self.flip:
            raise ValueError("test_flip=true: networks that never saw mirrored images know none; needs flip=true")

    @property
    def peak_lr(self) -> float:
        """The learning rate at the peak of the schedule."""
        return self.lr if self.lr is not None else DEFAULT_LR[self.optimizer]

    def scaled(self, factors: Mapping[str, float]) -> "TrainSettings":
        """With the settings that each of `SCALED` names multiplied by its factor; pixels are rounded, and shares are 1
        at most."""
        found: dict[str, float] = {}
        for named, factor in factors.items():
            for name in SCALED[named] if factor != 1 else ():
                value = self.peak_lr if name == "lr" else getattr(self, name)
                found[name] = round(value * factor) if isinstance(value, int) else value * factor
        if "random_erasing" in found:
            found["random_erasing"] = min(found["random_erasing"], 1.0)
        return replace(self, **found)  # type: ignore[arg-type]

    @property
    def needs_autograd(self) -> bool:
        """Whether there is something that networks trained by hand (`nasrun.training.dense`) do not know of."""
        return bool(self.changed(BY_AUTOGRAD))

    def changed(self, names: Iterable[str]) -> list[str]:
        """Those of some settings that are not what they are by default."""
        plain = TrainSettings()
        return [name for name in names if getattr(self, name) != getattr(plain, name)]


DEFAULT_LR = {"sgd": 0.1, "adam": 0.003, "adamw": 0.003, "adadelta": 1.0}
"""Peak rates that suit small convolutional networks with batch normalisation under a one-cycle schedule; of adadelta,
which finds its own steps, torch's default."""

SCALED = {
    "lr": ("lr",),
    "weight_decay": ("weight_decay",),
    "augmentation": ("shift", "cutout", "random_erasing", "mixup", "cutmix"),
    "label_smoothing": ("label_smoothing",),
}
"""What a search may multiply for each network, and the settings that are meant: none that changes the work of an epoch,
by which networks are compared, and time is planned."""

BY_AUTOGRAD = (
    "decay_all",
    "cutout",
    "random_erasing",
    "mixup",
    "cutmix",
    "ema",
    "test_flip",
    "first_size",
    "class_weights",
    "sampling",
    "loss",
    "extra_metrics",
    "micro_batch",
)
"""Settings that training by autograd alone follows."""

FOR_CLASSES = (
    "label_smoothing",
    "cutout",
    "random_erasing",
    "mixup",
    "cutmix",
    "first_size",
    "class_weights",
    "sampling",
    "loss",
    "extra_metrics",
)
"""Settings for classification alone."""
