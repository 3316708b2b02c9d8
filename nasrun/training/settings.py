"""The options of training: what the YAML of an evaluator may set, and what a proposal's `hparams` may change."""

from dataclasses import dataclass
from typing import Annotated, Literal

from nasrun.core.options import Above, AtLeast, Between, Positive


@dataclass(kw_only=True, frozen=True)
class TrainSettings:
    """How one network is trained. Rates are per step, `patience` and `epochs` in passes over the training data.

    The schedule is laid over `schedule_epochs`, of which a shorter training sees the beginning; None: over `epochs`.
    `lr` is the peak of the schedule; None takes the optimizer's usual one (`DEFAULT_LR`). `shift` moves an image by up
    to that many pixels in each direction, `flip` mirrors it left to right with probability one half. `patience` stops
    when the validation accuracy (regression: the validation loss) has not improved for that many epochs and takes the
    best epoch's weights. `label_smoothing` is for classification. `micro_batch`: images that go through the network at
    a time, in training and in measuring; the gradients of the parts of a batch add up to its own. `epoch_images`:
    images that count as an epoch, drawn anew for each; None: all that there are.
    """

    epochs: Positive = 2
    schedule_epochs: Positive | None = None
    batch_size: Positive = 128
    optimizer: Literal["sgd", "adam", "adamw", "adadelta"] = "adamw"
    lr: Annotated[float, Above(0)] | None = None
    momentum: Annotated[float, Between(0, 1, open_high=True)] = 0.9
    nesterov: bool = True
    schedule: Literal["constant", "cosine", "one_cycle"] = "one_cycle"
    weight_decay: Annotated[float, AtLeast(0)] = 0.0
    label_smoothing: Annotated[float, Between(0, 1, open_high=True)] = 0.0
    shift: Annotated[int, AtLeast(0)] = 0
    flip: bool = False
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

    @property
    def peak_lr(self) -> float:
        """The learning rate at the peak of the schedule."""
        return self.lr if self.lr is not None else DEFAULT_LR[self.optimizer]


DEFAULT_LR = {"sgd": 0.1, "adam": 0.003, "adamw": 0.003, "adadelta": 1.0}
"""Peak rates that suit small convolutional networks with batch normalisation under a one-cycle schedule; of adadelta,
which finds its own steps, torch's default."""
