"""The device and precision of training: what the config asks for, and what this machine offers."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from nasrun.core.options import Above, AtLeast, Between, ConfigError, FilePath

if TYPE_CHECKING:
    import torch


MOST_WORKERS = 256
GPUS = "CUDA_VISIBLE_DEVICES"


@dataclass(kw_only=True, frozen=True)
class Hardware:
    """The hardware options of a run; `resolve` decides device, precision and threads.

    - `workers`: number of processes that train; several share the GPUs, if there are any.
    - `threads`: CPU threads of each worker, and of the winner's final training; None: the workers share the cores that
      this process may use, and the final training uses all.
    - `in_flight`: number of trials asked for ahead of the oldest one that is not told; None: as many as there are
      workers.
    - `grace`: seconds beyond its trial's time limit after which a worker counts as hung and is killed; training runs
      stop by themselves.
    - `clock`: the clock of a time budget: `wall`, or the processor time of all threads of the run (`cpu`), which other
      work on the machine does not use up.
    - `latency_by`: what runs a network whose latency is measured, PyTorch on the device or onnxruntime on the CPU.
    - `latency_table`: a file of layer latencies that are added up instead (`nasrun.hardware.latency_table`).
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    channels_last: bool = True
    workers: Annotated[int, Between(1, MOST_WORKERS)] = 1
    threads: Annotated[int, AtLeast(1)] | None = None
    in_flight: Annotated[int, AtLeast(1)] | None = None
    order: Literal["proposal", "completion"] = "proposal"
    grace: Annotated[float, Above(0)] = 30.0
    clock: Literal["wall", "cpu"] = "wall"
    latency_by: Literal["pytorch", "onnx"] = "pytorch"
    latency_table: FilePath | None = None

    def __post_init__(self) -> None:
        if self.precision == "fp16" and self.device == "cpu":
            raise ValueError("precision=fp16: needs device=cuda, for its loss scaling; on the CPU use bf16 or fp32")
        if self.latency_table is not None and self.latency_by == "onnx":
            raise ValueError("latency_by=onnx: not used with latency_table; leave it out")
        if self.workers > 1 and not hasattr(os, "fork"):
            raise ValueError(f"workers={self.workers}: this operating system cannot fork processes; use workers=1")

    @property
    def trials_in_flight(self) -> int:
        """Number of trials asked for ahead."""
        return self.in_flight or self.workers

    @property
    def is_remote(self) -> bool:
        """Whether trials are evaluated in other processes than the runner's."""
        return self.workers > 1

    @property
    def shares_memory(self) -> bool:
        """Whether the workers, if any, are certainly on this machine, and can map the runner's data."""
        return True

    @property
    def worker_summary(self) -> str:
        """A description of the workers; empty if the runner is the only one."""
        return f"{self.workers} workers" if self.is_remote else ""

    @property
    def named(self) -> tuple[str, str]:
        """The setting that makes trials run in other processes, and the setting that runs them in the runner's own."""
        return f"hardware.workers={self.workers}", "hardware.workers=1"

    @property
    def own_threads(self) -> int:
        """CPU threads of each worker if the config does not say."""
        return max(1, _usable_cores() // self.workers)

    def opened(self, data_bytes: int = 0) -> contextlib.AbstractContextManager[None]:
        """A scope in which the hardware can be used, for a data set of that size.

        ConfigError if it cannot be reached.
        """
        return contextlib.nullcontext()

    def resolve(self) -> "Runtime":
        """Decide device, precision and threads on this machine; ConfigError if it lacks what is asked for."""
        import torch

        device = self.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("hardware.device=cuda: no CUDA device is usable here; use hardware.device=cpu")
        precision, reason = self.precision, "as configured"
        if precision == "auto":
            precision, reason = _best_precision(device)
        if precision == "fp16" and device == "cpu":
            raise ConfigError("hardware.precision=fp16: no CUDA device is usable here; on the CPU use bf16 or fp32")
        if self.threads is not None and self.threads > 4 * (os.cpu_count() or 1):
            raise ConfigError(f"hardware.threads={self.threads}: this machine has {os.cpu_count()} processors")
        threads = self.threads or self.own_threads
        alone = _usable_cores() if self.is_remote and device == "cpu" and self.threads is None else threads
        return Runtime(device, precision, reason, threads, self.channels_last, alone if alone != threads else 0)


def gpus_of_workers(workers: int) -> list[str]:
    """The GPU of each worker, as a value of CUDA_VISIBLE_DEVICES, chosen by the memory that is free now."""
    import torch

    count = torch.cuda.device_count()
    known = [name.strip() for name in os.environ.get(GPUS, "").split(",") if name.strip()]
    names = known[:count] if len(known) >= count else [str(number) for number in range(count)]
    free = [torch.cuda.mem_get_info(number)[0] for number in range(count)] if count > 1 else [1]
    return [names[number] for number in spread(workers, free)]


def spread(workers: int, free: Sequence[int]) -> list[int]:
    """The GPU of each worker: the one with the largest share of free memory after it is added, the first of equal ones.

    `free`: bytes, for each GPU.
    """
    placed = [0] * len(free)
    chosen = []
    for _ in range(workers):
        best = max(range(len(free)), key=lambda number: (free[number] / (placed[number] + 1), -number))
        placed[best] += 1
        chosen.append(best)
    return chosen


def _usable_cores() -> int:
    """The number of cores that this process may use, if the system says (Linux); else of all cores."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _best_precision(device: str) -> tuple[Literal["fp32", "bf16", "fp16"], str]:
    """The precision by the hardware's abilities, not by a timing, so that two runs on one machine choose the same.

    bf16 has matrix units on CUDA devices from compute capability 8.0, and on CPUs with AMX or AVX-512 BF16, where
    convolutions were measured about twice as fast as in fp32 (`docs/benchmarks.md`).
    """
    import torch

    if device == "cuda":
        if torch.cuda.get_device_capability() >= (8, 0):
            return "bf16", "the GPU has bf16 matrix units"
        return "fp16", "the GPU has fp16 but no bf16 matrix units"
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    unit = next((name for name in ("amx_bf16", "avx512_bf16") if capabilities.get(name)), None)
    if unit:
        return "bf16", f"the CPU has {unit}; networks without convolutions stay in fp32"
    return "fp32", "the CPU has no bf16 units"


class Runtime(NamedTuple):
    """The device, precision and threads of a job: decided once per run, recorded, and read from the record on a resume.

    `threads`: CPU threads of each training run; `alone`: of one in the runner's process while all workers are idle, 0
    if that makes no difference.
    """

    device: Literal["cpu", "cuda"]
    precision: Literal["fp32", "bf16", "fp16"]
    reason: str
    threads: int
    channels_last: bool
    alone: int = 0

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Runtime":
        """The runtime that an earlier start of the run decided on; ConfigError if this machine lacks the device.

        Everything else works anywhere: more threads than processors, and bf16 without units for it, are only slow.
        """
        import torch

        runtime = cls(**{name: record[name] for name in cls._fields if name in record})
        if runtime.device == "cuda" and not torch.cuda.is_available():
            raise ConfigError(
                "the run was started on a CUDA device, and none is usable here; resume it on a machine with one"
            )
        return runtime

    def apply(self) -> None:
        """Set the threads of this process, and the precision of matrix products."""
        import torch

        torch.set_num_threads(self.threads)
        if self.device == "cuda":
            torch.backends.cudnn.conv.fp32_precision = "ieee" if self.precision == "fp32" else "tf32"  # type: ignore[attr-defined]
            torch.backends.cuda.matmul.fp32_precision = "ieee" if self.precision == "fp32" else "tf32"

    def place(self, model: "torch.nn.Module") -> "torch.nn.Module":
        """Move a model to the device, in its memory format."""
        return model.to(device=self.device, memory_format=self.memory_format(model))  # type: ignore[call-overload,no-any-return]

    def memory_format(self, model: "torch.nn.Module") -> "torch.memory_format":
        """channels_last for networks with convolutions, if it is enabled."""
        import torch

        return torch.channels_last if self.channels_last and has_convolutions(model) else torch.contiguous_format

    def autocast_dtype(self, model: "torch.nn.Module") -> "torch.dtype | None":
        """The type that autocast lowers to; None for plain fp32 (small dense networks on the CPU always are)."""
        import torch

        if self.precision == "fp32" or (self.device == "cpu" and not has_convolutions(model)):
            return None
        return torch.bfloat16 if self.precision == "bf16" else torch.float16


@contextlib.contextmanager
def single_thread() -> Iterator[None]:
    """A scope in which torch computes in one thread; the number of threads is restored afterwards."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def has_convolutions(model: "torch.nn.Module") -> bool:
    """Whether a network has 2-d convolutions, whose weights alone have four dimensions."""
    return any(weight.ndim == 4 for weight in model.parameters())
