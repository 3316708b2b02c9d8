"""Weights on disk: written atomically, kept for the best trials only, bounded in size.

Everything is safetensors: nothing that is loaded can run code.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nasrun.protocols import Objective, Proposal
from nasrun.records import TrialRecord

if TYPE_CHECKING:
    import torch

FOLDER = "checkpoints"


class CheckpointStore:
    """The checkpoints of a run: `checkpoints/<trial>-<repeat>.safetensors`.

    `keep`: `best` keeps the trials ranked first (`count` of them), `all` every trial's, `none` nothing. Whatever is
    kept, the folder stays below `limit_mb` megabytes: the lowest-ranked go first, the best trial's never.
    """

    def __init__(
        self, directory: Path, keep: Literal["best", "all", "none"], count: int = 1, limit_mb: float = float("inf")
    ) -> None:
        self._folder = directory / FOLDER
        self._keep, self._count, self._limit = keep, count, limit_mb * 1e6
        self._sizes: dict[int, int] | None = None
        self._kept: list[tuple[float, int]] = []

    def target(self, trial: int, repeat: int) -> str | None:
        """Where a job saves its weights; None where nothing is kept."""
        return None if self._keep == "none" else str(self._path(trial, repeat))

    def source(self, proposal: Proposal, repeat: int) -> str | None:
        """The checkpoint that a proposal starts from; None where it starts afresh."""
        if proposal.warm_start == "none" or proposal.parent is None:
            return None
        return str(self._path(proposal.parent, repeat))

    def files(self, trial: int) -> list[Path]:
        """The checkpoints of a trial, in the order of its repeats."""
        return sorted(self._folder.glob(f"{trial}-*.safetensors"), key=lambda path: int(path.stem.split("-")[1]))

    def _path(self, trial: int, repeat: int) -> Path:
        return self._folder / f"{trial}-{repeat}.safetensors"

    def keep_best(self, records: dict[int, TrialRecord], objective: Objective) -> None:
        """Delete what is not to be kept, now that the last of `records` was told."""
        if self._keep == "none" or not records:
            return
        if self._sizes is None:
            self._begin(records, objective)
        else:
            self._add(next(reversed(records.values())), objective)
        self._trim()

    def _begin(self, records: dict[int, TrialRecord], objective: Objective) -> None:
        """After a start or a resume: rank what is on disk, and clear what no record ranks."""
        self._sizes = {}
        for record in records.values():
            self._add(record, objective)
        if self._folder.is_dir():
            for path in self._folder.glob("*-*.safetensors"):
                number = int(path.stem.split("-")[0])
                if number in records and number not in self._sizes:
                    path.unlink(missing_ok=True)

    def _add(self, record: TrialRecord, objective: Objective) -> None:
        assert self._sizes is not None
        number = record.trial.number
        size = sum(path.stat().st_size for path in self.files(number)) if self._folder.is_dir() else 0
        if size:
            self._sizes[number] = size
            self._kept.append((objective.score(record.measurements), -number))
            self._kept.sort(reverse=True)

    def _trim(self) -> None:
        assert self._sizes is not None
        most = self._count if self._keep == "best" else len(self._kept)
        while len(self._kept) > 1 and (len(self._kept) > most or sum(self._sizes.values()) > self._limit):
            number = -self._kept.pop()[1]
            for path in self.files(number):
                path.unlink(missing_ok=True)
            del self._sizes[number]


def save_weights(path: Path, weights: Mapping[str, "torch.Tensor"], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors as safetensors: a temporary file beside the target, then a rename."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    try:
        save_file(tensors, str(temporary), dict(metadata or {}))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_weights(path: Path) -> dict[str, "torch.Tensor"]:
    """Read tensors that `save_weights` wrote."""
    from safetensors.torch import load_file

    return load_file(str(path))


def inherit(model: "torch.nn.Module", weights: Mapping[str, "torch.Tensor"]) -> int:
    """Copy into a model every tensor whose name and shape match; returns how many did."""
    import torch

    own = model.state_dict()
    matching = {name: tensor for name, tensor in weights.items() if name in own and own[name].shape == tensor.shape}
    with torch.no_grad():
        for name, tensor in matching.items():
            own[name].copy_(tensor)
    return len(matching)
