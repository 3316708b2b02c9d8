"""Weights on disk: written atomically, kept for the best trials only, limited in size.

All weights are safetensors, alone or in an archive, so that loading cannot execute code.
"""

import zipfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nasrun.checkpoints.archive import read_weights
from nasrun.core import Objective, Proposal
from nasrun.storage.records import TrialRecord

if TYPE_CHECKING:
    import torch

FOLDER = "checkpoints"


class CheckpointStore:
    """The checkpoints of a run: archives `checkpoints/<trial>-<repeat>.zip` (`nasrun.checkpoints.archive`).

    `keep`: `best` keeps the `count` best trials, `all` all trials, `none` no trial. In any case the folder stays below
    `limit_mb` megabytes: the worst trials are deleted first, the best one never. `uses_checkpoints`: the search
    continues from checkpoints, so that those it needs are kept in addition, with `none` until `clear`.
    """

    def __init__(
        self,
        directory: Path,
        keep: Literal["best", "all", "none"],
        count: int = 1,
        limit_mb: float = float("inf"),
        *,
        uses_checkpoints: bool = False,
    ) -> None:
        self._folder = directory / FOLDER
        self._keep, self._count, self._limit = keep, count, limit_mb * 1e6
        self._uses_checkpoints = uses_checkpoints
        self._sizes: dict[int, int] | None = None
        self._kept: list[tuple[float, int]] = []

    @property
    def _saves(self) -> bool:
        return self._keep != "none" or self._uses_checkpoints

    def target(self, trial: int, repeat: int) -> str | None:
        """The path to which a job saves its weights; None if nothing is kept."""
        return str(self.path(trial, repeat)) if self._saves else None

    def source(self, proposal: Proposal, repeat: int) -> str | None:
        """The checkpoint from which a proposal starts; None if it starts from new weights."""
        if proposal.warm_start == "none" or proposal.parent is None:
            return None
        return str(self.path(proposal.parent, repeat))

    def files(self, trial: int) -> list[Path]:
        """The checkpoints of a trial, in the order of its repeats."""
        return sorted(self._folder.glob(f"{trial}-*.zip"), key=lambda path: int(path.stem.split("-")[1]))

    def path(self, trial: int, repeat: int) -> Path:
        """The path of the checkpoint of a repeat of a trial, whether or not it was kept."""
        return self._folder / f"{trial}-{repeat}.zip"

    def keep_best(self, records: dict[int, TrialRecord], objective: Objective, needed: Collection[int] = ()) -> None:
        """Delete checkpoints that are no longer kept, after the last of `records` was told. `needed`: trials from which
        the search may continue, whose checkpoints are kept regardless of rank. The first call must precede the first
        job."""
        if not self._saves:
            return
        if self._sizes is None:
            self._begin(records, objective)
        elif records:
            self._add(next(reversed(records.values())), objective)
        self._trim(needed)

    def clear(self) -> None:
        """At the end, delete checkpoints that were kept only for the search."""
        if self._keep == "none" and self._uses_checkpoints and self._folder.is_dir():
            for path in self._folder.glob("*-*.zip"):
                path.unlink(missing_ok=True)
            if not any(self._folder.iterdir()):
                self._folder.rmdir()

    def _begin(self, records: dict[int, TrialRecord], objective: Objective) -> None:
        """After a start or resume, rank the files on disk and delete unranked and incomplete ones."""
        self._sizes = {}
        for record in records.values():
            self._add(record, objective)
        if self._folder.is_dir():
            for path in self._folder.glob(".*.tmp"):
                path.unlink(missing_ok=True)
            for path in self._folder.glob("*-*.zip"):
                number = int(path.stem.split("-")[0])
                if number in records and number not in self._sizes:
                    path.unlink(missing_ok=True)

    def _add(self, record: TrialRecord, objective: Objective) -> None:
        assert self._sizes is not None
        number = record.trial.number
        if number in self._sizes:
            return
        size = sum(path.stat().st_size for path in self.files(number)) if self._folder.is_dir() else 0
        if size:
            self._sizes[number] = size
            self._kept.append((objective.score(record.measurements), -number))
            self._kept.sort(reverse=True)

    def _trim(self, needed: Collection[int]) -> None:
        assert self._sizes is not None
        most = {"best": self._count, "all": len(self._kept), "none": 0}[self._keep]
        never = 0 if self._keep == "none" else 1
        for rank in range(len(self._kept) - 1, never - 1, -1):
            if rank < most and sum(self._sizes.values()) <= self._limit:
                break
            number = -self._kept[rank][1]
            if number in needed:
                continue
            del self._kept[rank]
            for path in self.files(number):
                path.unlink(missing_ok=True)
            del self._sizes[number]


def save_weights(path: Path, weights: Mapping[str, "torch.Tensor"], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors as safetensors atomically: a temporary file next to the target, then a rename.

    OSError (disk full, folder missing) passes through and leaves an earlier file unchanged.
    """
    from safetensors.torch import save

    path.parent.mkdir(exist_ok=True)  # no parents: a deleted run directory must not be created again
    temporary = path.with_name(f".{path.name}.tmp")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    try:
        # The library's own file writer raises its own errors, without errno.
        temporary.write_bytes(save(tensors, dict(metadata or {})))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_weights(path: Path) -> dict[str, "torch.Tensor"]:
    """Read the tensors written by `save_weights`, or those of an archive."""
    from safetensors.torch import load_file

    if path.suffix == ".zip" and zipfile.is_zipfile(path):
        return read_weights(path)

    return load_file(str(path))


def averaged(weights: Sequence[Mapping[str, "torch.Tensor"]]) -> dict[str, "torch.Tensor"]:
    """The mean of the tensors of several networks; integer tensors (counts) are taken from the first."""
    import torch

    first, *others = weights
    mean = {}
    for name, tensor in first.items():
        same = [tensor, *(other[name] for other in others)]
        mean[name] = torch.stack(same).mean(0) if tensor.is_floating_point() else tensor
    return mean


def inherit(model: "torch.nn.Module", weights: Mapping[str, "torch.Tensor"]) -> int:
    """Copy every tensor whose name and shape match into a model; return their number."""
    import torch

    own = model.state_dict()
    matching = {name: tensor for name, tensor in weights.items() if name in own and own[name].shape == tensor.shape}
    with torch.no_grad():
        for name, tensor in matching.items():
            own[name].copy_(tensor)
    return len(matching)
