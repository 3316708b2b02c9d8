"""Writes a trained network as Python source that needs only torch, with all layers and sizes written out.

Layers come from the module tree, the order of operations from tracing each module's `forward` (`torch.fx`). Any network
can be written whose control flow does not depend on values. Parameter names are kept, so that the weights of the run
can be loaded.
"""

import inspect
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from nasrun.core.options import error_line, printable

_SIGNS: dict[Any, str] = {operator.add: "+", operator.iadd: "+", operator.sub: "-", operator.mul: "*"}
_RESERVED = {"torch", "nn", "functional", "self", "json"}
_TENSOR = object()
"""Placeholder for a tensor among the arguments of a call; the others are constants."""

HEAD = '''\
"""{title}

Needs only PyTorch. The network takes images as bytes and normalises them itself:

    model = load("{weights}")
    outputs = model(images)  # {inputs} to {outputs}
"""

import json
from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional

CLASSES = {classes}


def load(path="{weights}"):
    """The network with the weights of a safetensors file, ready to be used."""
    model = Network()
    model.load_state_dict(read_safetensors(path))
    return model.eval()


def read_safetensors(path):
    """The tensors of a safetensors file: the length of a JSON header, the header, then the bytes of all tensors."""
    kinds = {{"F32": torch.float32, "I64": torch.int64}}
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        content = bytearray(file.read())
    tensors = {{}}
    for name, entry in header.items():
        if name != "__metadata__":
            start, end = entry["data_offsets"]
            values = torch.frombuffer(content[start:end], dtype=kinds[entry["dtype"]])
            tensors[name] = values.reshape(entry["shape"])
    return tensors
'''


class NotWritableError(Exception):
    """The network cannot be written as source; the text says why, in one line."""


def python_source(
    network: nn.Module, buffers: Mapping[str, Sequence[int]], result: str, head: Mapping[str, str]
) -> str:
    """The source of a module file with a class `Network` and a function `load`.

    `network`: in evaluation mode, with one input. `buffers`: names and shapes of additional tensors (`scale`, `offset`,
    ...). `result`: an expression of its `outputs`. `head`: the values for `HEAD`. NotWritableError if a part of the
    network cannot be written.
    """
    writer = _Writer()
    writer.calls[network] = (_TENSOR,)
    lines = ["class Network(nn.Module):", "    def __init__(self):", "        super().__init__()"]
    lines += [f'        self.register_buffer("{name}", torch.zeros({tuple(size)}))' for name, size in buffers.items()]
    lines += [f"        self.network = {writer.expression(network, 8)}", "", "    def forward(self, images):"]
    lines += ["        outputs = self.network(images.to(torch.float32) * self.scale + self.offset)"]
    lines += [f"        return {result}"]
    # Text of the run is inserted into the first string of the file and must not end it.
    title = printable(head["title"]).replace("\\", "/").replace('"', "'")
    return "\n\n\n".join([HEAD.format(**{**head, "title": title}).rstrip(), *writer.classes, "\n".join(lines)]) + "\n"


class _Writer:
    """Writes modules as expressions, and those with their own `forward` as classes, equal ones only once."""

    def __init__(self) -> None:
        self.classes: list[str] = []
        self.calls: dict[nn.Module, tuple[Any, ...]] = {}
        self._names: dict[str, str] = {}

    def expression(self, module: nn.Module, indent: int) -> str:
        """The expression that creates a module without its weights; lines after the first are indented."""
        kind = type(module)
        if isinstance(module, nn.Sequential) and kind.forward is nn.Sequential.forward:
            return self._sequential(module, indent)
        if kind in (nn.ModuleDict, nn.ModuleList):
            rows = self._children(module, indent + 4)
            if kind is nn.ModuleList:
                return _block("nn.ModuleList([", list(rows.values()), "])", indent)
            return _block("nn.ModuleDict({", [f'"{name}": {text}' for name, text in rows.items()], "})", indent)
        if kind.__module__.startswith("torch.nn."):
            return _built_in(module)
        return f"{self._class(module)}()"

    def _children(self, module: nn.Module, indent: int) -> dict[str, str]:
        return {name: self.expression(child, indent) for name, child in module.named_children()}

    def _sequential(self, module: nn.Sequential, indent: int) -> str:
        for child in module:
            self._note_call(child, (_TENSOR,))
        rows = self._children(module, indent + 4)
        if list(rows) == [str(place) for place in range(len(rows))]:
            return _block("nn.Sequential(", list(rows.values()), ")", indent)
        pairs = [f'("{name}", {text})' for name, text in rows.items()]
        return _block("nn.Sequential(OrderedDict([", pairs, "]))", indent)

    def _note_call(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        if self.calls.setdefault(module, arguments) != arguments:
            raise NotWritableError(f"{type(module).__name__} is called in different ways")

    def _class(self, module: nn.Module) -> str:
        """The class name of a module with its own `forward`; the class is written unless an equal one exists."""
        name = type(module).__name__
        if module not in self.calls:
            raise NotWritableError(f"{name} is never called")
        graph = _trace(module, self.calls[module])
        for node in graph.nodes:
            if node.op == "call_module":
                self._note_call(module.get_submodule(_target(node)), _arguments(node))
        lines = ["    def __init__(self):", "        super().__init__()"]
        lines += [f"        self.{child} = {text}" for child, text in self._children(module, 8).items()]
        for own, parameter in module.named_parameters(recurse=False):
            lines.append(f"        self.{own} = nn.Parameter(torch.zeros({tuple(parameter.shape)}))")
        stored = module.state_dict()
        for own, buffer in module.named_buffers(recurse=False):
            if own not in stored:
                raise NotWritableError(f"{name} has a tensor that is not saved ({own})")
            lines.append(f'        self.register_buffer("{own}", torch.zeros({tuple(buffer.shape)}))')
        body = [*(lines if len(lines) > 2 else []), *([""] if len(lines) > 2 else []), *_forward(module, graph)]
        text = "\n".join(body)
        if text not in self._names:
            taken = sum(known.rstrip("0123456789") == name for known in self._names.values())
            self._names[text] = name if not taken else f"{name}{taken + 1}"
            self.classes.append(f"class {self._names[text]}(nn.Module):\n{text}")
        return self._names[text]


def _block(start: str, rows: Sequence[str], end: str, indent: int) -> str:
    if not rows:
        return start + end
    inside = "".join(f"{' ' * (indent + 4)}{row},\n" for row in rows)
    return f"{start}\n{inside}{' ' * indent}{end}"


def _built_in(module: nn.Module) -> str:
    """The constructor call of a torch layer, from its `repr` and the options that `repr` omits.

    Verified by executing the call, whose text consists only of torch names and plain values.
    """
    text = f"nn.{module!r}"
    try:
        other = _differing(module, eval(text, {"nn": nn}))
        keywords = ", ".join(f"{name}={vars(module)[name]!r}" for name in other)
        text = f"{text[:-1]}, {keywords})" if other else text
        made = eval(text, {"nn": nn})
    except Exception as error:
        raise NotWritableError(f"a layer {text} cannot be written ({type(error).__name__})") from error
    shapes = {name: tensor.shape for name, tensor in module.state_dict().items()}
    if _differing(module, made) or {name: tensor.shape for name, tensor in made.state_dict().items()} != shapes:
        raise NotWritableError(f"a layer {text} cannot be written: its repr is incomplete")
    return text


def _differing(module: nn.Module, other: nn.Module) -> list[str]:
    """The options in which a layer differs from another one of its class."""
    plain = (bool, int, float, str, tuple, type(None))
    own = {name: value for name, value in vars(module).items() if name[0] != "_" and isinstance(value, plain)}
    return [name for name, value in own.items() if name != "training" and vars(other).get(name) != value]


class _Call(nn.Module):
    """Calls a module with the constants of a template, so that they are not traced as inputs."""

    def __init__(self, inner: nn.Module, template: tuple[Any, ...]) -> None:
        super().__init__()
        self.inner, self.template = inner, template

    def fill(self, *tensors: Tensor) -> Any:
        given = iter(tensors)
        return self.inner(*(next(given) if entry is _TENSOR else entry for entry in self.template))


class _Call1(_Call):
    def forward(self, first: Tensor) -> Any:
        return self.fill(first)


class _Call2(_Call):
    def forward(self, first: Tensor, second: Tensor) -> Any:
        return self.fill(first, second)


class _Call3(_Call):
    def forward(self, first: Tensor, second: Tensor, third: Tensor) -> Any:
        return self.fill(first, second, third)


_SHAPES: dict[int, type[_Call]] = {1: _Call1, 2: _Call2, 3: _Call3}


class _Tracer(fx.Tracer):
    """Traces a single module; its children are steps of the calculation."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self._inner = inner

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return m is not self._inner


def _trace(module: nn.Module, template: tuple[Any, ...]) -> fx.Graph:
    """The steps of a module's `forward`."""
    tensors = sum(entry is _TENSOR for entry in template)
    if tensors not in _SHAPES:
        raise NotWritableError(f"{type(module).__name__} takes {tensors} tensors")
    try:
        return _Tracer(module).trace(_SHAPES[tensors](module, template))
    except Exception as error:
        reason = error_line(error, 120)
        raise NotWritableError(f"{type(module).__name__} cannot be traced ({reason})") from error


def _target(node: fx.Node) -> str:
    return str(node.target).removeprefix("inner.")


def _arguments(node: fx.Node) -> tuple[Any, ...]:
    """The template of a call of a child."""
    if node.kwargs:
        raise NotWritableError(f"{node.target} is called with named arguments")
    return tuple(_TENSOR if isinstance(entry, fx.Node) else entry for entry in node.args)


def _forward(module: nn.Module, graph: fx.Graph) -> list[str]:
    """The lines of a `forward` that executes the steps of a graph."""
    texts: dict[fx.Node, str] = {}
    names = [name for name in inspect.signature(module.forward).parameters if name not in _RESERVED]
    inputs: list[str] = []
    lines: list[str] = []
    for node in graph.nodes:
        if node.op == "placeholder":
            inputs.append(names[len(inputs)])
            texts[node] = inputs[-1]
        elif node.op == "output":
            result = _text(node.args[0], texts)
            if lines and lines[-1].startswith(f"        {result} = "):
                lines[-1] = f"        return {lines[-1].split(' = ', 1)[1]}"
            else:
                lines.append(f"        return {result}")
        elif node.op == "get_attr":
            texts[node] = f"self{_path(module, _target(node))}"
        elif node.op == "call_function" and node.target in (getattr, operator.getitem):
            texts[node] = _access(node, texts)
        else:
            name = node.name.removeprefix("inner_")
            texts[node] = f"{name}_" if name in {*_RESERVED, *inputs} else name
            lines.append(f"        {texts[node]} = {_step(module, node, texts)}")
    return [f"    def forward(self, {', '.join(inputs)}):", *lines]


def _step(module: nn.Module, node: fx.Node, texts: Mapping[fx.Node, str]) -> str:
    """One step of a calculation as an expression."""
    if node.op == "call_module":
        given = [texts[entry] for entry in node.args if isinstance(entry, fx.Node)]
        return f"self{_path(module, _target(node))}({', '.join(given)})"
    named = [f"{name}={_text(value, texts)}" for name, value in node.kwargs.items()]
    given = [_text(value, texts) for value in node.args]
    if node.op == "call_method":
        return f"{given[0]}.{node.target}({', '.join([*given[1:], *named])})"
    if node.target in _SIGNS:
        return f"{given[0]} {_SIGNS[node.target]} {given[1]}"
    name = getattr(node.target, "__name__", "")
    for place, library in (("functional", functional), ("torch", torch)):
        if getattr(library, name, None) is node.target:
            return f"{place}.{name}({', '.join([*given, *named])})"
    raise NotWritableError(f"{type(module).__name__} calls {name or node.target}, which is not a torch function")


def _access(node: fx.Node, texts: Mapping[fx.Node, str]) -> str:
    """The source of an attribute or index access."""
    value, key = node.args[0], node.args[1]
    if node.target is getattr:
        return f"{_text(value, texts)}.{key}"
    keys = key if isinstance(key, tuple) else (key,)
    return f"{_text(value, texts)}[{', '.join(_text(entry, texts) for entry in keys)}]"


def _text(value: Any, texts: Mapping[fx.Node, str]) -> str:
    """The source of an argument."""
    if isinstance(value, fx.Node):
        return texts[value]
    if isinstance(value, slice):
        ends = ["" if end is None else _text(end, texts) for end in (value.start, value.stop, value.step)]
        return f"{ends[0]}:{ends[1]}" + (f":{ends[2]}" if ends[2] else "")
    if isinstance(value, list | tuple):
        inside = ", ".join(_text(entry, texts) for entry in value)
        return f"[{inside}]" if isinstance(value, list) else f"({inside}{',' if len(value) == 1 else ''})"
    if value is None or isinstance(value, bool | int | float | str | torch.dtype):
        return repr(value)
    raise NotWritableError(f"a constant of the type {type(value).__name__} cannot be written")


def _path(module: nn.Module, target: str) -> str:
    """The access path to a child, or to a parameter of one: `.first`, `.operations["1_0"]`, `.cells[2]`."""
    text, here = "", module
    for part in target.split("."):
        if isinstance(here, nn.ModuleDict):
            text += f'["{part}"]'
        elif isinstance(here, nn.ModuleList | nn.Sequential) and part.isdigit():
            text += f"[{part}]"
        else:
            text += f".{part}"
        here = getattr(here, part)
    return text
