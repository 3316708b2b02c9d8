"""The options of the networks of strategy `nao`. Nothing here imports torch."""

from dataclasses import dataclass
from typing import Annotated

from nasrun.core.options import Above, Between, Positive


@dataclass(kw_only=True, frozen=True)
class NetworkSettings:
    """An encoder and a decoder, LSTMs of `hidden` units that read tokens as vectors of `embedding` entries, and a
    predictor with one layer of `predictor_hidden` units.

    They are trained for `steps` steps of Adam at `lr` on batches of `batch_size`, on `trade_off` times the squared
    error of the predictor plus 1 - `trade_off` times the cross-entropy of the decoder.
    """

    embedding: Positive = 32
    hidden: Positive = 64
    predictor_hidden: Positive = 200
    steps: Positive = 200
    lr: Annotated[float, Above(0)] = 0.01
    batch_size: Positive = 64
    trade_off: Annotated[float, Between(0, 1)] = 0.8
