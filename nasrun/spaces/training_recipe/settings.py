"""The options of training recipes, in groups."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np

from nasrun.core import Token
from nasrun.core.options import Above, AtLeast, FilePath, NotEmpty, Positive, show
from nasrun.spaces.training_recipe.models import Model

Activation = Literal["ELU", "Hardshrink", "Hardsigmoid", "Hardtanh", "ReLU", "ReLU6", "SELU", "Sigmoid", "Tanh"]
Optimizer = Literal["sgd", "adam", "adamw", "adadelta"]

Output = Literal["LogSoftmax", "Softmax", "Softmin"]

ACTIVATIONS = ("ELU", "Hardshrink", "Hardsigmoid", "Hardtanh", "ReLU", "ReLU6", "SELU", "Sigmoid", "Tanh")
OPTIMIZERS = ("sgd", "adam", "adamw", "adadelta")


@dataclass(kw_only=True, frozen=True)
class Network:
    """The network that is trained: a `model` with its `widths`, or the `genome` of a run or of the space `base`."""

    model: Model = "dense"
    widths: list[Positive] | None = None
    run: FilePath | None = None
    base: dict[str, Any] | None = None
    genome: str | None = None

    def __post_init__(self) -> None:
        if self.widths is not None and not self.widths:
            raise ValueError("widths=[]: expected at least one layer")
        given = {"run": self.run, "base": self.base, "genome": self.genome}
        for key, value in given.items():
            if value is not None and self.model != "genome":
                raise ValueError(f"{key}={show(value)}: needs model=genome; now model={self.model}")


@dataclass(kw_only=True, frozen=True)
class Genes:
    """The choices of a recipe; None: all possible ones, or, for output activations, rates and decays, none.

    `null_mutations`: a mutation may draw the present value, and so change nothing, as in its authors' code.
    """

    optimizers: Annotated[list[Optimizer], NotEmpty()] | None = None
    activations: Annotated[list[Activation], NotEmpty()] | None = None
    outputs: Annotated[list[Output], NotEmpty()] | None = None
    null_mutations: bool = False
    min_batch: Positive = 1
    max_batch: Positive = 200
    batch_step: Positive = 10
    lrs: Annotated[list[Annotated[float, Above(0)]], NotEmpty()] | None = None
    weight_decays: Annotated[list[Annotated[float, AtLeast(0)]], NotEmpty()] | None = None

    @property
    def floats(self) -> Mapping[str, tuple[str, ...]]:
        """The rates and decays that are genes, as their tokens, ascending."""
        named = (("lr", self.lrs), ("weight_decay", self.weight_decays))
        return {name: tuple(map(text_of, sorted(values))) for name, values in named if values is not None}


@dataclass(kw_only=True, frozen=True)
class StartRecipe:
    """The first recipe of a search that changes one network."""

    optimizer: Optimizer = "adam"
    batch_size: Positive = 32
    activation: Activation = "ReLU"

    def check(self, genes: Genes) -> None:
        """ValueError if the genes do not allow it."""
        if not genes.min_batch <= self.batch_size <= genes.max_batch:
            raise ValueError(
                f"batch_size={self.batch_size}: must be from min_batch={genes.min_batch} to max_batch={genes.max_batch}"
            )
        known: tuple[tuple[str, Token, tuple[Token, ...]], ...] = (
            ("optimizer", self.optimizer, tuple(genes.optimizers or OPTIMIZERS)),
            ("activation", self.activation, tuple(genes.activations or ACTIVATIONS)),
        )
        for name, value, values in known:
            if value not in values:
                raise ValueError(f"{name}={value}: not one of {name}s={show(list(values))}")


def text_of(value: float) -> str:
    """A number without an exponent, which would contain the sign that joins tokens."""
    return np.format_float_positional(value, trim="-")
