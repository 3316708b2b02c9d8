"""Small folders of pictures of the kinds that users of other tools reported, and files that Pillow cannot write."""

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("cat", "dog", "emu")
PNG_COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}
"""PNG's colour type by the number of channels: grey, grey and alpha, RGB, RGBA."""


def picture(label: int, rng: np.random.Generator, size: tuple[int, int] = (20, 20)) -> Image.Image:
    """An RGB picture of noise, of (width, height), that is brighter in the channel of its class."""
    pixels = rng.integers(0, 60, (size[1], size[0], 3), dtype=np.uint8)
    pixels[..., label % 3] += 120
    return Image.fromarray(pixels)


def fill(folder: Path, count: int = 12, classes: Sequence[str] = CLASSES, seed: int = 0) -> Path:
    """Folders of classes with `count` PNGs each; other seeds give other pictures."""
    rng = np.random.default_rng(seed)
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            picture(label, rng).save(folder / name / f"{number}.png")
    return folder


def write_png16(path: Path, values: np.ndarray) -> None:
    """A PNG of 16 bits per channel; `values` uint16 (height, width, channels)."""
    height, width, channels = values.shape

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, PNG_COLOURS[channels], 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
