"""Archives: one self-contained file per trained network, safe to load.

An archive is a `.zip` with uncompressed members: `archive.json` (the network and its training settings),
`weights.safetensors` and, if training may continue from it, `optimizer.safetensors`. The same content gives the same
bytes.

    from nasrun.checkpoints.archive import load
    model, info = load("outputs/.../checkpoints/12-0.zip")
    predictions = model(info.inputs(images))  # uint8 (batch, channels, height, width)

Archives are not trusted: only these members are read, nothing is unpacked to disk, sizes are checked first, and the
network is built by a search space of nasrun before the weights are loaded.
"""

import io
import json
import stat
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasrun.core import Genome, SearchSpace, Task
from nasrun.core.options import error_line

if TYPE_CHECKING:
    import torch

    Tensors = Mapping[str, torch.Tensor]

INFO, WEIGHTS, OPTIMIZER = "archive.json", "weights.safetensors", "optimizer.safetensors"
MEMBERS = (INFO, WEIGHTS, OPTIMIZER)
FORMAT = 1
DATE = (1980, 1, 1, 0, 0, 0)
LARGEST_INFO = 64 * 2**20
"""Maximum bytes of `archive.json`; a history of a hundred thousand epochs needs fewer."""

_KEYS = {"format": int, "genome": str, "epochs": int, "hparams": dict, "metrics": dict, "history": list, "task": dict}


class ArchiveError(Exception):
    """The file is not an archive, or is malformed; the text names the file and the reason, in one line."""


@dataclass(frozen=True)
class Archive:
    """The description of the network in an archive.

    `genome`: in the format of its space; `section`: the config of the space. `hparams`: all settings of the last
    training. `epochs`: total epochs of training, including those of its ancestors. `metrics`, `history`: of the last
    training, as in the tables, without times. `mean`, `std`: of the channels of its inputs, scaled to [0, 1]; for
    regression `target_mean` and `target_std` of the channels of its targets. `trial`, `repeat`, `seed`: of the job that
    wrote it.
    """

    genome: str
    epochs: int
    hparams: Mapping[str, Any]
    metrics: Mapping[str, float]
    history: Sequence[Mapping[str, float]]
    task: Task
    section: Mapping[str, Any] | None = None
    mean: Sequence[float] = ()
    std: Sequence[float] = ()
    target_mean: Sequence[float] = ()
    target_std: Sequence[float] = ()
    trial: int | None = None
    repeat: int = 0
    seed: int | None = None
    parent: int | None = None
    partners: Sequence[int] = field(default=())

    def inputs(self, images: "torch.Tensor") -> "torch.Tensor":
        """Convert images of the data set, uint8 (batch, channels, height, width), to the network's input."""
        import torch

        mean, std = (torch.tensor(list(values)).view(1, -1, 1, 1) for values in (self.mean, self.std))
        return images.to(torch.float32).mul_(1 / (255 * std)).add_(-mean / std)

    def targets(self, outputs: "torch.Tensor") -> "torch.Tensor":
        """Convert the network's output for regression, (batch, outputs, height, width), to the units of the targets."""
        import torch

        mean, std = (torch.tensor(list(values)).view(1, -1, 1, 1) for values in (self.target_mean, self.target_std))
        return outputs * std + mean


def save(path: Path, info: Archive, weights: "Tensors", optimizer: "Tensors | None" = None) -> None:
    """Write an archive atomically: a temporary file next to the target, then a rename. OSError (disk full) passes
    through."""
    content = {"format": FORMAT, **{name: value for name, value in vars(info).items() if name != "task"}}
    content |= {"task": vars(info.task)}
    members = {INFO: (json.dumps(content, indent=1, allow_nan=False) + "\n").encode(), WEIGHTS: _packed(weights)}
    if optimizer is not None:
        members[OPTIMIZER] = _packed(optimizer)
    path.parent.mkdir(exist_ok=True)  # no parents: a deleted run directory must not be created again
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as file:
            for name, data in members.items():
                member = zipfile.ZipInfo(name, DATE)  # a fixed time gives the same bytes for the same content
                member.create_system, member.external_attr = 3, (stat.S_IFREG | 0o644) << 16
                file.writestr(member, data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: str | Path, space: SearchSpace | None = None) -> "tuple[torch.nn.Module, Archive]":
    """The network of an archive, on the CPU and in evaluation mode, and its description.

    `space`: the search space, if it is not one of nasrun's. Raises ArchiveError if the file is not a complete and
    consistent archive, OSError if it cannot be read.
    """
    from nasrun.spaces.sections import make_space

    info = read_info(path)
    weights = read_weights(path)
    try:
        if space is None:
            if not info.section:
                raise ValueError("it was saved without its search space; pass it as the argument space")
            if info.section.get("run") is not None:
                raise ValueError("its search space needs a directory")
            space = make_space(info.section)
        genome: Genome = space.parse(info.genome)
        model = space.outline(genome, info.task)
        _check_fit(model, weights)
        model.load_state_dict(weights, assign=True)
    except ArchiveError:
        raise
    except Exception as error:
        raise ArchiveError(f"{path}: {error_line(error)}") from None
    return model.eval(), info


def _check_fit(model: "torch.nn.Module", weights: "Tensors") -> None:
    """ValueError unless names, shapes and types of the weights match the model."""
    expected = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in model.state_dict().items()}
    found = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in weights.items()}
    for name in sorted({*expected, *found}):
        if expected.get(name) != found.get(name):
            raise ValueError(f"weights {name}: {found.get(name)}, but the genome's network has {expected.get(name)}")
    hidden = [name for name, buffer in model.named_buffers() if name not in found]
    if hidden:
        raise ValueError(f"weights {hidden[0]}: not saved with the network")


def read_info(path: str | Path) -> Archive:
    """The description in an archive; ArchiveError, OSError as in `load`."""
    try:
        content = json.loads(_read(path, INFO))
    except (ValueError, RecursionError) as error:
        raise ArchiveError(f"{path}: {INFO}: {error_line(error)}") from None
    try:
        for name, kind in _KEYS.items():
            if not isinstance(content[name], kind):
                raise TypeError(f"{name} is not of type {kind.__name__}")
        if content.pop("format") != FORMAT:
            raise ValueError("written by another version of nasrun")
        task = Task(**content.pop("task"))
        if not all(isinstance(getattr(task, name), int) for name in ("channels", "height", "width", "outputs")):
            raise TypeError("task has values that are not integers")
        return Archive(task=task, **content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArchiveError(f"{path}: {INFO}: {type(error).__name__}: {error_line(error)}") from None


def read_weights(path: str | Path) -> "dict[str, torch.Tensor]":
    """The weights in an archive, by name; ArchiveError, OSError as in `load`."""
    return _unpacked(path, WEIGHTS)


def read_optimizer(path: str | Path) -> "dict[str, torch.Tensor] | None":
    """The optimizer state in an archive; None if there is none."""
    with _opened(path) as file:
        present = OPTIMIZER in file.namelist()
    return _unpacked(path, OPTIMIZER) if present else None


def _packed(tensors: "Tensors") -> bytes:
    from safetensors.torch import save

    return save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})


def _unpacked(path: str | Path, member: str) -> "dict[str, torch.Tensor]":
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(_read(path, member))
    except SafetensorError as error:
        raise ArchiveError(f"{path}: {member}: {error_line(error)}") from None


def _read(path: str | Path, member: str) -> bytes:
    """The content of a member, with its checksum verified."""
    with _opened(path) as file:
        try:
            return file.read(member)
        except KeyError:
            raise ArchiveError(f"{path}: not an archive of nasrun: {member} is missing") from None
        except (zipfile.BadZipFile, EOFError, RuntimeError, NotImplementedError) as error:
            raise ArchiveError(f"{path}: {member} is damaged ({error_line(error)})") from None


def _opened(path: str | Path) -> zipfile.ZipFile:
    """The file as a zip without unknown, compressed, encrypted or oversized members."""
    with open(path, "rb") as raw:
        size = raw.seek(0, io.SEEK_END)
    try:
        file = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise ArchiveError(f"{path}: not an archive of nasrun ({error_line(error)})") from None
    reason = _refusal(file.infolist(), size)
    if reason is not None:
        file.close()
        raise ArchiveError(f"{path}: refused: {reason}")
    return file


def _refusal(members: Sequence[zipfile.ZipInfo], size: int) -> str | None:
    """The reason to reject these members; None if they are valid."""
    if len(members) > len(MEMBERS):
        return f"it has {len(members)} files; an archive has at most {len(MEMBERS)}"
    if len({member.filename for member in members}) < len(members):
        return "it contains a file twice"
    for member in members:
        name = ascii(member.filename[:60])
        if member.filename not in MEMBERS:
            return f"it contains {name}, which is not part of an archive"
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            return f"{name} is compressed"
        if member.flag_bits & 1:
            return f"{name} is encrypted"
        if member.file_size > size or (member.filename == INFO and member.file_size > LARGEST_INFO):
            return f"{name} claims to have {member.file_size:,} bytes"
    if sum(member.file_size for member in members) > size:
        return "its members claim to be larger than the file"
    return None
