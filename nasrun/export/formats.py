"""The export formats: ONNX, a `torch.export` program, safetensors, Python source.

Every written file is loaded again as a user would load it, and its outputs are compared with those of the network in
PyTorch. onnx and onnxruntime (`nasrun[export]`) are imported when they are needed.
"""

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from nasrun.checkpoints.store import save_weights
from nasrun.export.images import random_images
from nasrun.export.network import Function, RunNetwork
from nasrun.export.python_source import NotWritableError, python_source
from nasrun.hardware.onnx_program import missing_packages, onnx_program, quiet
from nasrun.storage.records import write_text

if TYPE_CHECKING:
    import onnx

ONNX, PROGRAM, WEIGHTS, SOURCE = "model.onnx", "model.pt2", "model.safetensors", "model.py"
FORMATS = ("onnx", "pt2", "safetensors", "python")


class FormatError(Exception):
    """This network cannot be written in a format, or not in this environment; the text is the reason, in one line."""


def write_onnx(network: RunNetwork, folder: Path) -> Function:
    """`model.onnx`: input `images`, uint8 (batch, channels, height, width), output `outputs`. Run by onnxruntime."""
    if missing := missing_packages():
        raise FormatError(missing)
    import onnx

    path = folder / ONNX
    temporary = path.with_name(f".{ONNX}.tmp")
    onnx_program(network.model, _example(network)).save(str(temporary), external_data=False)
    written = onnx.load(str(temporary))
    _forget_source(written)
    onnx.save(written, str(temporary))
    onnx.checker.check_model(str(temporary), full_check=True)
    temporary.replace(path)
    return onnx_function(path)


def onnx_function(path: Path) -> Function:
    """A function that runs an exported ONNX file with onnxruntime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def call(images: Tensor) -> Tensor:
        return torch.from_numpy(np.asarray(session.run(["outputs"], {"images": images.numpy()})[0]))

    return call


def _forget_source(model: "onnx.ModelProto") -> None:
    """Remove the exporter's metadata of each node: stack traces with paths of this machine, which make up most of the
    file of a small network."""
    graph = model.graph
    del graph.metadata_props[:]
    for entry in (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del entry.metadata_props[:]


def write_program(network: RunNetwork, folder: Path) -> Function:
    """`model.pt2`: a program for `torch.export.load(path).module()`, which is called with images."""
    path = folder / PROGRAM
    with quiet():
        shapes = ({0: torch.export.Dim("batch", min=1)},)
        program = torch.export.export(network.model, (_example(network),), dynamic_shapes=shapes)
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)
        temporary = path.with_name(f".{PROGRAM}.tmp.pt2")
        torch.export.save(program, temporary)
        temporary.replace(path)
        loaded: Function = torch.export.load(path).module()
    return loaded


def write_safetensors(network: RunNetwork, folder: Path) -> Function:
    """`model.safetensors`: the weights and the constants of the normalisation."""
    from safetensors.torch import load_file

    path = folder / WEIGHTS
    save_weights(path, network.model.state_dict(), {"genome": network.genome})
    network.model.load_state_dict(load_file(str(path)))
    return network.model


def write_python(network: RunNetwork, folder: Path) -> Function:
    """`model.py`, and the weights that it reads. Verified as a separate script."""
    write_safetensors(network, folder)
    task, model = network.task, network.model
    size = f"{task.height}, {task.width}"
    outputs = "float (batch, classes), the logits"
    if model.regression:
        outputs = f"float (batch, {task.outputs}, {size}), values in original units"
    head = {
        "title": f"A network for {task.name}, found by nasrun: {network.genome}",
        "weights": WEIGHTS,
        "inputs": f"uint8 (batch, {task.channels}, {size})",
        "outputs": outputs,
        "classes": _listed(network.data.classes),
    }
    buffers = {name: tuple(tensor.shape) for name, tensor in model.named_buffers(recurse=False)}
    result = "outputs * self.target_scale + self.target_offset" if model.regression else "outputs"
    try:
        source = python_source(model.network, buffers, result, head)
    except NotWritableError as error:
        raise FormatError(str(error)) from error
    write_text(folder / SOURCE, source)
    load: Callable[[str], Function] = runpy.run_path(str(folder / SOURCE))["load"]
    return load(str(folder / WEIGHTS))


WRITERS: dict[str, tuple[str, Callable[[RunNetwork, Path], Function]]] = {
    "onnx": (ONNX, write_onnx),
    "pt2": (PROGRAM, write_program),
    "safetensors": (WEIGHTS, write_safetensors),
    "python": (SOURCE, write_python),
}
"""For each format the file, and a function that writes it and returns a function that runs it."""


def _listed(classes: tuple[str, ...]) -> str:
    """The names of the classes as Python source, one per line."""
    return "(\n" + "".join(f"    {name!r},\n" for name in classes) + ")" if classes else "()"


def _example(network: RunNetwork) -> Tensor:
    """Two images: with one, the exporter would treat the batch size as a constant."""
    return torch.from_numpy(random_images(network.task).images[:2])
