"""Common options of hardware whose workers run on the machines of a cluster."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from nasrun.core.options import Above, AtLeast, ConfigError, Positive
from nasrun.hardware.devices import Hardware, Runtime


@dataclass(kw_only=True, frozen=True)
class ClusterHardware(Hardware):
    """The options of a run whose trials are evaluated on the machines of a cluster.

    `cpus`, `gpus`, `memory_mb`: resources of each worker on its node; `gpus` None: one if the run trains on CUDA.
    `threads` None: as many as `cpus`. Device, precision and threads are decided on the runner's machine, which also
    trains the winner.
    """

    option: ClassVar[str]
    """The option of the config group."""
    some_gpus: ClassVar[str] = "gpus=1"
    """What to type for workers with a GPU."""

    cpus: Annotated[float, Above(0)] = 1.0
    gpus: Annotated[float, AtLeast(0)] | None = None
    memory_mb: Positive | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.device == "cpu" and self.gpus:
            raise ValueError(f"gpus={self.gpus:g}: device=cpu uses none; use gpus=0, or device=cuda")
        if self.device == "cuda" and self.gpus == 0:
            raise ValueError(f"gpus=0: device=cuda needs some; use {self.some_gpus}")

    @property
    def is_remote(self) -> bool:
        return True

    @property
    def shares_memory(self) -> bool:
        return False

    @property
    def named(self) -> tuple[str, str]:
        return f"hardware={self.option}", "hardware=auto"

    @property
    def own_threads(self) -> int:
        return max(1, int(self.cpus))

    def resolve(self) -> Runtime:
        without_gpu = self.device == "auto" and self.gpus == 0
        runtime = Hardware.resolve(replace(self, device="cpu") if without_gpu else self)
        if self.gpus and runtime.device == "cpu":
            raise ConfigError(
                f"hardware.gpus={self.gpus:g}: no CUDA device is usable here, where the winner is trained"
            )
        return runtime
