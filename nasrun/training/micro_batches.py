"""Training in micro-batches: a batch goes through the network in parts, whose gradients are added up.

The parts' losses are weighted so that the gradient is that of the loss over the whole batch (gradient accumulation).
Batch normalisation is the exception: it takes its mean and variance from each part, and moves its running ones once for
each, so that such a network learns a little differently. Dropout draws a mask for each part in turn.
"""

from collections.abc import Iterator

import torch

from nasrun.training.losses import Loss

Part = tuple[torch.Tensor, torch.Tensor, torch.Tensor | float]


def parts_of(images: torch.Tensor, labels: torch.Tensor, size: int, loss: Loss) -> Iterator[Part]:
    """A batch in as few even parts of at most `size` images as there can be.

    Each comes with the share of its own mean loss in that of the batch: the losses times the shares add up to it.
    """
    count = -(-len(images) // size)
    whole = loss.amount(labels)
    for some, theirs in zip(images.tensor_split(count), labels.tensor_split(count), strict=True):
        yield some, theirs, loss.amount(theirs) / whole


_SCARCE = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "ALLOC_FAILED",
)
"""What errors of lacking memory hold that are of no type of their own: torch's allocator on the CPU, whose words differ
between systems, the CUDA driver, cuBLAS and cuDNN."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a training run failed for lack of memory, on a GPU or on the CPU."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _SCARCE)
