"""Small data sets in the real formats, from the images that nasrun ships, and a web server on loopback for them."""

import gzip
import hashlib
import struct
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from nasrun.datasets.base import Raw
from nasrun.datasets.cifar10 import Cifar10
from nasrun.datasets.fashion_mnist import FashionMnist
from nasrun.datasets.fashion_mnist_mini import FashionMnistMini
from nasrun.datasets.files import File, Published
from nasrun.datasets.published import IdxDataset

TRAINING, TEST = 300, 100
NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def mini() -> Raw:
    """The shipped images, as they are read."""
    return FashionMnistMini().read()


def idx_bytes(array: np.ndarray) -> bytes:
    """An IDX file of unsigned bytes."""
    return struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def small_contents() -> dict[str, bytes]:
    """The unpacked content of four IDX files with the first images of the shipped set."""
    raw = mini()
    parts = raw.training.take(np.arange(TRAINING)), raw.test.take(np.arange(TEST))
    arrays = [array for part in parts for array in (part.images[:, 0], part.labels)]
    return dict(zip(NAMES, map(idx_bytes, arrays), strict=True))


def file_of(name: str, content: bytes) -> File:
    return File(name, len(content), hashlib.sha256(content).hexdigest())


def small_class(contents: dict[str, bytes], **changes: object) -> type[IdxDataset]:
    """Fashion-MNIST's class with a table of these files, and without home, system folder and package unless given."""
    files = tuple(file_of(name, content) for name, content in contents.items())
    return small_class_of(replace(Published("fashion-mnist", files, homes=()), **changes))


def small_class_of(table: Published) -> type[IdxDataset]:
    class SmallFashion(FashionMnist):
        counts = (TRAINING, TEST)
        published = table

    return SmallFashion


def write(folder: Path, contents: dict[str, bytes], packed: bool = True) -> Path:
    """Write files into a folder, as `.gz` or unpacked."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(content) if packed else content)
    return folder


def served(contents: dict[str, bytes], prefix: str = "/") -> dict[str, bytes]:
    """Files as a server has them: by path, packed."""
    return {f"{prefix}{name}.gz": gzip.compress(content) for name, content in contents.items()}


def python2_batch(images: np.ndarray, labels: list[int], element: bytes = b"u1") -> bytes:
    """A CIFAR-10 batch, instruction for instruction as Python 2 pickled it; `images` uint8 (N, pixels)."""

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    pixels = images.tobytes()
    state = number(3) + text(b"|") + b"NNN" + number(-1) + number(-1) + number(0)
    element_type = b"cnumpy\ndtype\n(" + text(element) + number(0) + number(1) + b"tR(" + state + b"tb"
    empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(" + number(0) + b"t" + text(b"b") + b"tR"
    shape = b"(" + number(images.shape[0]) + number(images.shape[1]) + b"t"
    content = b"(" + number(1) + shape + element_type + b"\x89T" + struct.pack("<i", len(pixels)) + pixels + b"tb"
    listed = b"](" + b"".join(map(number, labels)) + b"e"
    return b"\x80\x02}(" + text(b"data") + empty + content + text(b"labels") + listed + b"u."


def small_cifar_contents() -> dict[str, bytes]:
    """Five training batches of 40 images and a test batch of 40, with random pixels."""
    rng = np.random.default_rng(0)
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    labels = [index % 10 for index in range(40)]
    return {name: python2_batch(rng.integers(0, 256, (40, 3072), dtype=np.uint8), labels) for name in names}


def small_cifar(contents: dict[str, bytes], **changes: object) -> type[Cifar10]:
    """CIFAR-10's class with a table of its own."""
    files = tuple(file_of(name, content) for name, content in contents.items())
    table = replace(Cifar10.published, files=files, homes=(), **changes)

    class SmallCifar(Cifar10):
        counts = (200, 40)
        published = table

    return SmallCifar


class Server(ThreadingHTTPServer):
    """Serves `contents` by path; knows ranges. `cut`: paths of which the first answer ends in the middle.
    `log`: path and Range header of every request."""

    def __init__(self, contents: dict[str, bytes], cut: Collection[str], delay: float) -> None:
        self.contents, self.cut, self.delay = contents, set(cut), delay
        self.log: list[tuple[str, str | None]] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.log.append((self.path, asked))
        time.sleep(self.server.delay)
        content = self.server.contents.get(self.path)
        if content is None:
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.path in self.server.cut:
            self.server.cut.discard(self.path)
            content = content[: len(content) // 2]
        self.wfile.write(content[start:])

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@contextmanager
def serving(contents: dict[str, bytes], cut: Collection[str] = (), delay: float = 0.0) -> Iterator[Server]:
    """A web server on loopback for as long as the block runs."""
    with Server(contents, cut, delay) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
