"""The options of the networks that predict scores. Nothing here imports torch."""

from dataclasses import dataclass
from typing import Annotated, Literal

from nasrun.core.options import Above, AtLeast, Positive


@dataclass(kw_only=True, frozen=True)
class EnsembleSettings:
    """`networks` perceptrons of `layers` hidden layers with `hidden` units, each trained for `steps` steps of Adam on
    batches of its own. `encoding`: their input for a genome, `SearchSpace.encode` or an input per token and
    position."""

    networks: Annotated[int, AtLeast(2)] = 5
    hidden: Positive = 64
    layers: Positive = 2
    lr: Annotated[float, Above(0)] = 0.01
    steps: Positive = 100
    batch_size: Positive = 64
    encoding: Literal["vector", "tokens"] = "tokens"
