"""Latencies from a table of layers that were measured on another device: `hardware.latency_table=FILE`.

`scripts/latency_layers.py` writes the layers of a search space as ONNX files; `scripts/measure_latency.py`, which needs
only onnxruntime, measures them on the device and writes the table.
"""

import csv
import hashlib
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from nasrun.core.home import at_home
from nasrun.core.options import ConfigError
from nasrun.hardware.layers import Layer, parse_layer

COLUMNS = ("file", "layers", "ms")
JOINED = ";"
"""Separates the layers of a whole network."""


class Check(NamedTuple):
    """How well sums of layers predict whole networks: over `networks` networks, the `median` and the `largest` error,
    as shares of the measured value."""

    networks: int
    median: float
    largest: float


class LatencyTable:
    """Milliseconds of single layers and of some whole networks.

    The latency of a network is the constant overhead of a call, plus the sum of its layers' latencies beyond that
    (additive, as in Cai et al. 2019, "ProxylessNAS", section 3.3), times the mean factor by which whole networks
    differ, because consecutive layers are fused. A layer that is not in the table is estimated from the layer of its
    kind that is nearest in operations and values moved, in proportion to these.
    """

    def __init__(self, rows: Mapping[str, float], networks: Sequence[tuple[Sequence[Layer], float]]) -> None:
        """`rows`: milliseconds by the text of a layer; "" for the empty program."""
        self._call = rows.get("", 0.0)
        self._layers = {parse_layer(text): max(0.0, ms - self._call) for text, ms in rows.items() if text}
        self._factor = 1.0
        ratios = [(ms - self._call) / (self.predict(layers) - self._call) for layers, ms in networks]
        self._factor = max(0.01, statistics.median(ratios)) if ratios else 1.0
        errors = [abs(self.predict(layers) / ms - 1) for layers, ms in networks]
        self.check = Check(len(errors), statistics.median(errors), max(errors)) if errors else Check(0, 0.0, 0.0)

    def predict(self, layers: Iterable[Layer]) -> float:
        """Predicted milliseconds of a network with these layers for one image."""
        return self._call + self._factor * math.fsum(map(self._time, layers))

    def _time(self, layer: Layer) -> float:
        if layer in self._layers:
            return self._layers[layer]
        alike = [one for one in self._layers if (one.kind, one.groups > 1) == (layer.kind, layer.groups > 1)]
        if not alike:
            raise LookupError(f"the table of latencies has no layer of the kind {layer.kind}, as {layer} needs")
        nearest = min(alike, key=lambda one: _distance(one, layer))
        return self._layers[nearest] * math.sqrt(layer.work / nearest.work * layer.moved / nearest.moved)


def _distance(one: Layer, other: Layer) -> float:
    return math.hypot(math.log(one.work / other.work), math.log(one.moved / other.moved))


def read_table(path: str) -> tuple[LatencyTable, str]:
    """The table in a file, and the SHA-256 of its bytes; ConfigError, in one line, if it is not a table."""
    file = at_home(path)
    try:
        content = file.read_bytes()
        rows = list(csv.DictReader(content.decode("utf-8").splitlines()))
        if not rows or tuple(rows[0]) != COLUMNS:
            raise ValueError(f"its first line must be {','.join(COLUMNS)}, and rows must follow")
        single: dict[str, float] = {}
        networks: list[tuple[list[Layer], float]] = []
        for row in rows:
            ms, texts = float(row["ms"]), row["layers"].split(JOINED)
            if not 0 < ms < math.inf:
                raise ValueError(f"ms={row['ms']}: must be above 0")
            if len(texts) > 1:
                networks.append(([parse_layer(text) for text in texts], ms))
            else:
                single[texts[0]] = ms
        return LatencyTable(single, networks), hashlib.sha256(content).hexdigest()
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ZeroDivisionError) as error:
        reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        raise ConfigError(
            f"hardware.latency_table={path}: cannot be used ({reason}); make one with scripts/measure_latency.py"
        ) from None
