"""The winner of a run: `best/model.safetensors`, described by its metadata.

It can be used without the run's config and data, for example as the teacher of other networks.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasrun.checkpoints.store import load_weights, save_weights
from nasrun.core import Genome, SearchSpace, Task
from nasrun.core.home import at_home
from nasrun.core.options import error_line

if TYPE_CHECKING:
    import torch

FILE = Path("best", "model.safetensors")
ABOUT = "network"
"""The single entry of the metadata; the library writes several in random order."""


@dataclass(frozen=True)
class Winner:
    """The description of the network in the file.

    `genome`: in the format of its space; `section`: the config of the space. `task`: of the data, whose images are
    padded to `pad_to` pixels. `mean`, `std`: of the channels of its inputs, in pixels scaled to [0, 1]. `classes`: the
    names of its outputs. `test_flip`: outputs were averaged over an image and its mirror image.
    """

    genome: str
    section: Mapping[str, Any] | None
    task: Task
    mean: Sequence[float]
    std: Sequence[float]
    classes: Sequence[str] = ()
    pad_to: int | None = None
    test_flip: bool = False


def save_winner(path: Path, about: Winner, model: "torch.nn.Module") -> None:
    """Write the weights and the description of a network; OSError (disk full, folder missing) passes through."""
    save_weights(path, model.state_dict(), {ABOUT: json.dumps(asdict(about))})


def read_winner(path: Path) -> Winner | None:
    """Read the description; None if the file is from a version that stored only the genome.

    ValueError if it cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), "pt") as file:
            metadata = file.metadata() or {}
        if ABOUT not in metadata:
            return None
        content = json.loads(metadata[ABOUT])
        return Winner(task=Task(**content.pop("task")), **content)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"cannot be read ({error_line(error)})") from None


def winner_of(directory: str, recorded: Mapping[str, Any] | None = None) -> tuple[Path, Winner, dict[str, Any]]:
    """The network of a finished run: its file, its description, and a record to identify it (`genome`, `sha256` of the
    file).

    `recorded`: the record of an interrupted run that used it. ValueError if there is no network, or it differs from the
    recorded one.
    """
    path = at_home(directory) / FILE
    if not path.is_file():
        raise ValueError(f"it has no {FILE}; give the directory of a finished run of evaluator=train")
    about = read_winner(path)
    if about is None:
        raise ValueError("its network is from an earlier version of nasrun; run it again")
    record = {"genome": about.genome, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    if recorded is not None and recorded != record:
        raise ValueError(f"has {about.genome} now, but this run began with other weights, of {recorded['genome']}")
    return path, about, record


def load_winner(path: Path, about: Winner, space: SearchSpace) -> "torch.nn.Module":
    """The network of the file, on the CPU. Raises the reader's errors if the weights do not fit."""
    return build_for(space, space.parse(about.genome), about.task, about.pad_to, load_weights(path))


def build_for(
    space: SearchSpace,
    genome: Genome,
    task: Task,
    pad_to: int | None,
    weights: "Mapping[str, torch.Tensor] | None" = None,
) -> "torch.nn.Module":
    """The network of an architecture for images of a task, including their padding (`pad_to`).

    Raises RuntimeError if `weights` are not those of the network.
    """
    import torch
    from torch import nn

    enlarged = task.enlarged(pad_to)
    with torch.random.fork_rng([]):
        network: nn.Module = space.build(genome, enlarged)
    if weights is not None:
        network.load_state_dict(weights)
    if enlarged == task:
        return network
    rows, columns = enlarged.height - task.height, enlarged.width - task.width
    border = nn.ReplicationPad2d((columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
    return nn.Sequential(border, network)
