"""The layers of a network as text, the keys of a table of measured layers.

torch is imported when a network is traced, onnx when its layers are written.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from nasrun.core import Task

if TYPE_CHECKING:
    import onnx
    import torch

CONV, DENSE, MEAN = "conv", "dense", "mean"
SINGLE = {"relu": "Relu", "hardswish": "HardSwish", "sigmoid": "Sigmoid"}
PAIRS = {"add": "Add", "mul": "Mul"}
FREE = ("flip", "batch_norm", "flatten", "view", "reshape", "dropout", "size", "dim")
"""Calls without a latency of their own: normalisation is folded into the convolution before it."""

_TEXT = re.compile(r"([a-z]+)_(\d+)to(\d+)_(\d+)x(\d+)_k(\d+)_s(\d+)_g(\d+)(_relu)?")


class Layer(NamedTuple):
    """One layer for one image: input and output channels, height and width of its input, `relu` after it.

    `kernel`: 0 for the mean over all pixels, and for layers without a kernel.
    """

    kind: str
    channels: int
    outputs: int
    height: int
    width: int
    kernel: int = 0
    stride: int = 1
    groups: int = 1
    relu: bool = False

    def __str__(self) -> str:
        size = f"{self.channels}to{self.outputs}_{self.height}x{self.width}"
        rest = f"k{self.kernel}_s{self.stride}_g{self.groups}"
        return f"{self.kind}_{size}_{rest}{'_relu' if self.relu else ''}"

    @property
    def given(self) -> int:
        """Number of output values."""
        if self.kind == DENSE or (self.kind == MEAN and not self.kernel):
            return self.outputs
        return self.outputs * -(-self.height // self.stride) * -(-self.width // self.stride)

    @property
    def work(self) -> int:
        """Approximate number of operations: two for each multiply-add, one for each value of layers without weights."""
        taken = self.channels * self.height * self.width
        if self.kind == CONV:
            return 2 * self.given * self.kernel**2 * self.channels // self.groups
        return 2 * taken * self.outputs if self.kind == DENSE else taken

    @property
    def moved(self) -> int:
        """Number of values that it reads and writes, weights included."""
        weights = {
            CONV: self.kernel**2 * self.channels * self.outputs // self.groups,
            DENSE: self.channels * self.outputs,
        }
        return self.channels * self.height * self.width + self.given + weights.get(self.kind, 0)


def parse_layer(text: str) -> Layer:
    """The layer of a text; ValueError if it is not one."""
    match = _TEXT.fullmatch(text)
    if match is None or match[1] not in (CONV, DENSE, MEAN, *SINGLE, *PAIRS):
        raise ValueError(f"{text!r}: not a layer; expected one such as conv_16to32_28x28_k3_s2_g1_relu")
    channels, outputs, height, width, kernel, stride, groups = map(int, match.groups()[1:8])
    return Layer(match[1], channels, outputs, height, width, kernel, stride, groups, bool(match[9]))


def layers_of(build: "Callable[[], torch.nn.Module]", task: Task) -> list[Layer]:
    """The layers of a network in the order of computation; LookupError names one of an unknown kind."""
    import torch
    from torch.overrides import TorchFunctionMode

    found: list[Layer] = []
    joined: dict[int, int] = {}  # output of a convolution, or of the normalisation after it: its index

    class Recorder(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
        ) -> Any:
            result = func(*args, **(kwargs or {}))
            _note(func.__name__, args, kwargs or {}, result, found, joined)
            kept.append(result)
            return result

    kept: list[Any] = []  # keeps tensors alive, so that their ids stay unique
    with torch.random.fork_rng([]), torch.device("meta"):
        network = build().eval()
        image = torch.empty(1, task.channels, task.height, task.width)
        with torch.inference_mode(), Recorder():
            network(image)
    return found


def _note(
    name: str, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any, found: list[Layer], joined: dict[int, int]
) -> None:
    """Add the layer of a call; a relu after a convolution becomes part of it."""
    import torch

    name = name.strip("_").removeprefix("r") if name in ("__radd__", "__rmul__") else name.strip("_")
    if not isinstance(result, torch.Tensor) or name in ("__get__", "get", "empty", *FREE):
        if name == "batch_norm" and id(args[0]) in joined:
            joined[id(result)] = joined[id(args[0])]
        return
    taken = args[0]
    channels, height, width = (*taken.shape[1:], 1, 1)[:3]
    if name == "conv2d":
        weight, stride, groups = args[1], args[3] if len(args) > 3 else 1, args[6] if len(args) > 6 else 1
        step = stride[0] if isinstance(stride, tuple) else stride
        joined[id(result)] = len(found)
        found.append(Layer(CONV, channels, len(weight), height, width, weight.shape[2], step, groups))
    elif name == "linear":
        found.append(Layer(DENSE, taken.shape[-1], len(args[1]), 1, 1))
    elif name == "avg_pool2d":
        kernel = args[1] if isinstance(args[1], int) else args[1][0]
        whole = result.shape[2:] == (1, 1)
        found.append(Layer(MEAN, channels, channels, height, width, 0 if whole else kernel, 1 if whole else kernel))
    elif name == "relu" and id(taken) in joined:
        place = joined[id(taken)]
        found[place] = found[place]._replace(relu=True)
    elif name in SINGLE or name in PAIRS:
        found.append(Layer(name, channels, channels, height, width))
    else:
        raise LookupError(f"tables of latencies cannot hold layers of the kind {name}")


def onnx_of(layer: Layer) -> "onnx.ModelProto":
    """The single layer as an ONNX program for one image of floats, with random weights."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    rng, shape = np.random.default_rng(0), [1, layer.channels, layer.height, layer.width]
    names, weights, kind = ["x"], [], {**SINGLE, **PAIRS}.get(layer.kind, "")
    attributes: dict[str, Any] = {}
    if layer.kind == CONV:
        pads = [layer.kernel // 2] * 4
        kind, attributes = "Conv", {"strides": [layer.stride] * 2, "pads": pads, "group": layer.groups}
        sizes = {
            "w": (layer.outputs, layer.channels // layer.groups, layer.kernel, layer.kernel),
            "b": (layer.outputs,),
        }
    elif layer.kind == DENSE:
        kind, shape, sizes = "Gemm", [1, layer.channels], {"w": (layer.channels, layer.outputs), "b": (layer.outputs,)}
    else:
        sizes = {}
    if layer.kind == MEAN:
        kind = "AveragePool" if layer.kernel else "GlobalAveragePool"
        side = [layer.kernel] * 2
        attributes = {"kernel_shape": side, "strides": side, "ceil_mode": 1} if layer.kernel else {}
    for name, size in sizes.items():
        values = rng.normal(size=size, scale=1 / math.sqrt(math.prod(size[1:]) or 1)).astype(np.float32)
        weights.append(numpy_helper.from_array(values, name))
        names.append(name)
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    if layer.kind in PAIRS:
        names.append("y")
        inputs.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, shape))
    nodes = [helper.make_node(kind, names, ["z"], **attributes)]
    if layer.relu:
        nodes.append(helper.make_node("Relu", ["z"], ["r"]))
    last = helper.make_tensor_value_info("r" if layer.relu else "z", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "layer", inputs, [last], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def empty_onnx() -> "onnx.ModelProto":
    """A program that returns its input: it measures the overhead of a call."""
    from onnx import TensorProto, helper

    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1]) for name in ("x", "z")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["z"])], "empty", value[:1], value[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
