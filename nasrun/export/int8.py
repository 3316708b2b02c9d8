"""`model_int8.onnx`: the network quantised to 8-bit integers with onnxruntime's static quantisation.

Weights are quantised per channel; the ranges of activations are calibrated on training images. If this costs more than
a percentage point of accuracy on the validation images, other methods are tried in turn. The test set is used once, for
the file that is kept.
"""

import contextlib
import io
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nasrun.core.options import error_line
from nasrun.datasets import Split, Splits
from nasrun.datasets.mapped import Images as SomeImages
from nasrun.export.formats import ONNX, FormatError, onnx_function
from nasrun.export.network import RunNetwork, outputs_of

INT8 = "model_int8.onnx"
CALIBRATION = 512
"""Number of training images for the calibration of activations."""
BATCH = 64
COMPARED = 2000
"""Maximum number of validation images on which methods are compared."""
POINT = 0.01
"""Loss of accuracy in percentage points above which the next method is tried."""


class Attempt(NamedTuple):
    """A quantisation method. `keep_ends`: keep the first and the last layer in fp32."""

    words: str
    calibration: str
    keep_ends: bool


ATTEMPTS = (
    Attempt("weights per channel, activation ranges from minimum to maximum", "MinMax", keep_ends=False),
    Attempt("first and last layer in fp32", "MinMax", keep_ends=True),
    Attempt("first and last layer in fp32, activation ranges without the outermost 0.001 %", "Percentile", True),
)


class Quantised(NamedTuple):
    """The file and its loss of accuracy. `accuracies`: of fp32 and int8 on the compared images, then on the test
    images.

    `how`: the method; `tried`: the loss of each method on the validation images, in percentage points.
    """

    path: Path
    how: str
    tried: Sequence[tuple[str, float]]
    validation: tuple[float, float]
    test: tuple[float, float] | None

    @property
    def lost(self) -> float:
        """Accuracy lost by int8 in percentage points: on the test images, or if these are not used on the compared
        images."""
        fp32, int8 = self.test or self.validation
        return 100 * (fp32 - int8)


def quantise(network: RunNetwork, splits: Splits, folder: Path, expected: np.ndarray) -> Quantised:
    """Quantise `model.onnx` in a folder to `model_int8.onnx`; FormatError if that is not possible.

    `expected`: outputs of the network for the test images; their accuracy is reported only for the winner.
    """
    compared = _some(splits.validation, COMPARED)
    fp32 = _accuracy(onnx_function(folder / ONNX), compared)
    tried: list[tuple[str, float]] = []
    best: tuple[float, bytes, Attempt] | None = None
    for attempt in ATTEMPTS:
        content = quantised(folder / ONNX, splits.train, attempt)
        path = folder / INT8
        _write(path, content)
        accuracy = _accuracy(onnx_function(path), compared)
        tried.append((attempt.words, 100 * (fp32 - accuracy)))
        if best is None or accuracy > best[0]:
            best = accuracy, content, attempt
        if fp32 - accuracy <= POINT:
            break
    assert best is not None
    _write(folder / INT8, best[1])
    test = None
    if network.final:
        right = float((expected.argmax(1) == splits.test.labels).mean())
        test = right, _accuracy(onnx_function(folder / INT8), splits.test)
    return Quantised(folder / INT8, best[2].words, tried, (fp32, best[0]), test)


def quantised(path: Path, train: Split, attempt: Attempt) -> bytes:
    """The bytes of a quantised file."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as place:
        prepared, made = Path(place, "prepared.onnx"), Path(place, "int8.onnx")
        try:
            quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
            options: dict[str, Any] = {}
            if attempt.calibration == "Percentile":
                options = {"extra_options": {"CalibPercentile": 99.999}}
            with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
                quantize_static(
                    str(prepared),
                    str(made),
                    _Reader(_some(train, CALIBRATION).images),
                    quant_format=QuantFormat.QDQ,
                    per_channel=True,
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8,
                    calibrate_method=CalibrationMethod[attempt.calibration],
                    nodes_to_exclude=_ends(prepared) if attempt.keep_ends else [],
                    **options,
                )
        except Exception as error:  # its errors have no common base class
            raise FormatError(f"onnxruntime cannot quantise it ({error_line(error)})") from error
        return _shortened(made)


def _shortened(path: Path) -> bytes:
    """Shorten the names in a file. Every tensor has a scale and an offset, whose names are longer than the values and
    make up half the file of a small network."""
    import onnx

    model = onnx.load(str(path))
    graph = model.graph
    kept: dict[str, str] = {name: name for name in ("", *(value.name for value in (*graph.input, *graph.output)))}

    def short(name: str) -> str:
        return kept.setdefault(name, f"t{len(kept)}")

    for node in graph.node:
        node.name = ""
        node.input[:], node.output[:] = map(short, node.input), map(short, node.output)
        del node.metadata_props[:]
    for tensor in graph.initializer:
        tensor.name = short(tensor.name)
    del graph.value_info[:]
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


class _Reader:
    """Provides training images to onnxruntime's calibration, batch by batch."""

    def __init__(self, images: SomeImages) -> None:
        self._batches: Iterator[np.ndarray] = (images[start : start + BATCH] for start in range(0, len(images), BATCH))

    def get_next(self) -> Mapping[str, np.ndarray] | None:
        """The next batch as a mapping from the input's name; None after the last."""
        batch = next(self._batches, None)
        return None if batch is None else {"images": batch}


def _ends(path: Path) -> list[str]:
    """The names of the first and the last layer with weights."""
    import onnx

    nodes = [node.name for node in onnx.load(str(path)).graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
    return [nodes[0], nodes[-1]] if nodes else []


def _some(split: Split, most: int) -> Split:
    """A number of images of a part, the same ones on every call."""
    if len(split) <= most:
        return split
    return split.take(np.sort(np.random.default_rng(0).choice(len(split), most, replace=False)))


def _accuracy(function: Any, split: Split) -> float:
    return float((outputs_of(function, split.images).argmax(1) == split.labels).mean())


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)
