"""Large arrays held once in memory for several processes.

The memory is anonymous: no file names it, neither in `/dev/shm` nor elsewhere, so it is freed with the last process
that holds it, however that process ends.
"""

import mmap
import os
import pickle
import tempfile
from typing import Any, TypeVar

T = TypeVar("T")

ALIGNMENT = 64
"""Bytes: a cache line, and more than any number type needs."""


class SharedObject:
    """Holds an object whose numpy arrays lie in memory that other processes can map.

    It can be pickled for a process that inherits its `descriptor` under the same number. Arrays that are not contiguous
    are copied into each process.
    """

    def __init__(self) -> None:
        self.descriptor = -1
        self._size = 0
        self._pickled = b""
        self._places: tuple[tuple[int, int], ...] = ()

    def put(self, content: T) -> T:
        """Store an object, once, and return it with its arrays in the shared memory; OSError if there is too little
        memory."""
        if self.descriptor >= 0:
            raise RuntimeError("this memory holds an object already")
        buffers: list[pickle.PickleBuffer] = []
        self._pickled = pickle.dumps(content, protocol=5, buffer_callback=buffers.append)
        places, size = [], 0
        for buffer in buffers:
            length = buffer.raw().nbytes
            places.append((size, length))
            size += -(-length // ALIGNMENT) * ALIGNMENT
        self._places, self._size = tuple(places), max(1, size)
        self.descriptor = _anonymous(self._size)
        with mmap.mmap(self.descriptor, self._size) as memory:
            for buffer, (start, length) in zip(buffers, places, strict=True):
                memory[start : start + length] = buffer.raw()
        loaded: T = self.load()
        return loaded

    def load(self) -> Any:
        """The object. Its arrays are writable, but changes stay in this process."""
        memory = memoryview(mmap.mmap(self.descriptor, self._size, access=mmap.ACCESS_COPY))
        return pickle.loads(self._pickled, buffers=[memory[start : start + length] for start, length in self._places])

    def close(self) -> None:
        """Release the memory; loaded objects keep it until they are freed."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __del__(self) -> None:
        self.close()


def _anonymous(size: int) -> int:
    """An anonymous file descriptor of `size` bytes."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("nasrun")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    try:
        os.ftruncate(descriptor, size)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
