"""Networks as ONNX programs, run by onnxruntime on the CPU: for the export, and for latencies.

onnx, onnxscript and onnxruntime (`nasrun[export]`) are imported only here and in `nasrun.export`.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
INPUT, OUTPUT = "images", "outputs"


def missing_packages() -> str | None:
    """The packages that are missing to write and run ONNX, and how to install them; None if none is missing."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    return f"needs {' and '.join(missing)}; install nasrun[export]" if missing else None


def onnx_program(network: "torch.nn.Module", example: "torch.Tensor") -> "torch.onnx.ONNXProgram":
    """A network in evaluation mode as a program with input `images` and output `outputs`, for batches of any size.

    `example`: a batch of two or more: with one image the exporter would treat the batch size as a constant.
    """
    import torch

    with quiet():
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            verbose=False,
        )
    assert program is not None
    return program


def onnx_call(network: "torch.nn.Module", image: "torch.Tensor", threads: int) -> Callable[[], object]:
    """A function that runs a network in evaluation mode on one image, (1, ...), by onnxruntime on the CPU."""
    import onnxruntime
    import torch

    content = onnx_program(network, torch.cat([image, image])).model_proto.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    inputs = {INPUT: image.numpy()}
    return lambda: session.run([OUTPUT], inputs)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """A scope that hides the exporters' progress and warnings, but not errors."""
    names = ("torch.onnx", "onnxscript", "onnx_ir")
    levels = {name: logging.getLogger(name).level for name in names}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
