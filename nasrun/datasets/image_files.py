"""Users' image files: finding them in a folder and reading their pixels with Pillow (`nasrun[images]`), which is
imported only here.
"""

import os
import shlex
import warnings
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from nasrun.datasets.base import DatasetError

if TYPE_CHECKING:
    from PIL import Image

Resize = Literal["crop", "pad", "stretch"]

AVIF = (".avif",)
HEIF = (".heic", ".heif", ".hif")
_COMMON = (".apng", ".bmp", ".dib", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm")
SUFFIXES = tuple(sorted((*_COMMON, ".tga", ".tif", ".tiff", ".webp", *AVIF, *HEIF)))
"""Suffixes of image files in lower case. Files with other suffixes are ignored."""

HIDDEN = "hidden"
"""The reason to ignore a file whose name starts with a dot."""

NAMED = 10
"""Maximum number of files named in a message; the others are counted."""

_SHRINK = (
    "import sys; from PIL import Image, ImageOps as o; Image.MAX_IMAGE_PIXELS = None; "
    "o.contain(o.exif_transpose(Image.open(sys.argv[1])), (4096, 4096)).save(sys.argv[1])"
)
_PNG_SIGNATURE, _PNG_DEPTH = b"\x89PNG\r\n\x1a\n", 24
"""The signature of a PNG, and the offset of the byte with its bits per channel."""
_TIFF_DEPTH = 258
"""TIFF's tag BitsPerSample."""


class ImageError(DatasetError):
    """An image file cannot be used: `path`, `reason`, and `remedy`."""

    def __init__(self, path: Path, reason: str, remedy: str) -> None:
        super().__init__(f"{path}: {reason}; {remedy}")
        self.path, self.reason, self.remedy = path, reason, remedy


class CorruptImageError(ImageError):
    """A file cannot be read as an image: it is empty, truncated, damaged, or of another type."""

    def __init__(self, path: Path, detail: str) -> None:
        super().__init__(path, f"cannot be read as an image ({detail})", "replace or delete it")


class DeepImageError(ImageError):
    """An image has more than 8 bits per channel.

    Pillow keeps the upper 8 bits of colours, which include only four of a camera's 12 bits stored in 16.
    """

    def __init__(self, path: Path, bits: int) -> None:
        name = shlex.quote(str(path))
        remedy = f"save it with 8, as by ImageMagick: mogrify -depth 8 {name} (where it holds a camera's 12 bits: "
        super().__init__(path, f"{bits} bits per channel", f"{remedy}mogrify -evaluate multiply 16 -depth 8 {name})")


class HugeImageError(ImageError):
    """An image has more pixels than `limit`, and may be designed to exhaust memory."""

    def __init__(self, path: Path, limit: int) -> None:
        command = f"python -c {shlex.quote(_SHRINK)} {shlex.quote(str(path))}"
        remedy = f"move it away, or shrink it in place: {command}"
        super().__init__(path, f"more than {limit // 10**6} megapixels", remedy)


def find_images(folder: Path) -> tuple[list[Path], Counter[str]]:
    """The sorted image files in a folder and its subfolders, and the numbers of other files by reason.

    Links to folders are followed; a folder reached by two paths is read once. DatasetError names a folder that cannot
    be read.
    """

    def refuse(error: OSError) -> None:
        raise DatasetError(f"{error.filename}: cannot be read ({error.strerror}); make it readable, or move it away")

    needs = _needs()
    found, passed_over, seen = [], Counter[str](), set()
    for place, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        status = Path(place).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        passed_over[HIDDEN] += sum(name.startswith(".") for name in folders)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            suffix = Path(name).suffix.lower()
            if name.startswith("."):
                passed_over[HIDDEN] += 1
            elif suffix not in SUFFIXES:
                passed_over[suffix or "without an ending"] += 1
            elif suffix in needs:
                passed_over[f"{suffix} ({needs[suffix]})"] += 1
            else:
                found.append(Path(place, name))
    return sorted(found), +passed_over


def _needs() -> dict[str, str]:
    """What to install for suffixes that cannot be read with the installed packages."""
    from PIL import features

    missing: dict[str, str] = {}
    if not features.check("avif"):
        missing |= dict.fromkeys(AVIF, "Pillow 11.3 or later reads it: pip install -U pillow")
    if find_spec("pillow_heif") is None:
        missing |= dict.fromkeys(HEIF, "pip install pillow-heif")
    return missing


class Decoded(NamedTuple):
    """A decoded image: `pixels` uint8 (channels, height, width), `width` and `height` of the file, and losses: further
    `frames`, or transparency in `transparent` places."""

    pixels: np.ndarray
    width: int
    height: int
    frames: bool
    transparent: bool


class ImageReader:
    """Reads image files as pixels of one size. Transparency is dropped, only the first of several frames is read, and
    photographs are rotated according to their EXIF orientation.
    """

    def __init__(self, channels: int, height: int, width: int, resize: Resize = "crop") -> None:
        """`channels`: 1 for greyscale, 3 for RGB. `resize`: method for images of other proportions: `crop` keeps them
        and cuts off the excess, `pad` keeps them and fills with black, `stretch` does not keep them. DatasetError if
        Pillow is not installed.
        """
        try:
            import PIL.Image
            import PIL.ImageOps
        except ImportError:
            raise DatasetError("dataset=image_folder: needs Pillow; install nasrun[images]") from None
        if find_spec("pillow_heif") is not None:
            import pillow_heif

            pillow_heif.register_heif_opener()
        self._pillow, self._operations = PIL.Image, PIL.ImageOps
        self.shape = (channels, height, width)
        self.resize: Resize = resize

    def read(self, path: Path) -> np.ndarray:
        """One image as uint8 (channels, height, width); ImageError if it cannot be used."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings about metadata, palettes and large images
            return self.decode(path).pixels

    def decode(self, path: Path) -> Decoded:
        """One image with its losses; ImageError if it cannot be used.

        An image of the right size is not resampled. Several threads may call this; warnings of Pillow are not
        suppressed, because that is not possible per thread.
        """
        if not path.is_file():  # a pipe would block for ever
            raise ImageError(path, "is not a file", "remove it, or replace it by an image")
        limit = self._pillow.MAX_IMAGE_PIXELS or 0
        try:
            with self._pillow.open(path) as opened:
                # An image far larger than any photograph is rejected before its pixels are decoded.
                if limit and opened.width * opened.height > limit:
                    raise HugeImageError(path, limit)
                return self._decoded(opened, path)
        except ImageError:
            raise
        except self._pillow.DecompressionBombError:
            raise HugeImageError(path, limit) from None
        except Exception as error:  # Pillow's readers raise many error types on damaged files, such as struct.error
            raise CorruptImageError(path, _reason(error, path)) from None

    def _decoded(self, opened: "Image.Image", path: Path) -> Decoded:
        """The image in an opened file, in the right channels and size."""
        bits = _bits(opened, path)
        if bits > 8:
            raise DeepImageError(path, bits)
        # A camera's MPO also contains previews of the same image.
        frames = bool(getattr(opened, "is_animated", False)) and opened.format != "MPO"
        turned = self._operations.exif_transpose(opened)
        transparent = turned.has_transparency_data and np.asarray(turned.convert("RGBA"))[..., 3].min() < 255
        if turned.mode == "LAB":  # Pillow converts these only to RGB
            turned = turned.convert("RGB")
        fitted = self._fit(turned.convert("L" if self.shape[0] == 1 else "RGB"))
        pixels = np.asarray(fitted, dtype=np.uint8)
        pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        return Decoded(pixels, *turned.size, frames, bool(transparent))

    def _fit(self, image: "Image.Image") -> "Image.Image":
        size = (self.shape[2], self.shape[1])
        if image.size == size:
            return image
        if self.resize == "stretch":
            return image.resize(size)
        fitted: Image.Image = (self._operations.fit if self.resize == "crop" else self._operations.pad)(image, size)
        return fitted


def _reason(error: Exception, path: Path) -> str:
    """A short reason why Pillow could not read a file."""
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        if path.suffix.lower() in (needs := _needs()):
            return needs[path.suffix.lower()]
        return "of no known kind" if path.stat().st_size else "it is empty"
    return " ".join(str(error).split()) or type(error).__name__


def _bits(opened: "Image.Image", path: Path) -> int:
    """Bits per channel of an opened file. Pillow's mode says 8 for colours, whatever the file has."""
    if opened.mode.startswith("I;16"):
        return 16
    if opened.mode.startswith(("I", "F")):
        return 32
    if opened.format == "PNG":
        with path.open("rb") as file:
            head = file.read(_PNG_DEPTH + 1)
        return head[_PNG_DEPTH] if head.startswith(_PNG_SIGNATURE) and len(head) > _PNG_DEPTH else 8
    if opened.format == "TIFF":
        return int(max(opened.tag_v2.get(_TIFF_DEPTH, (8,))))  # type: ignore[attr-defined]
    return 8


def refusal(failures: Sequence[ImageError], root: Path) -> str:
    """The problems of unusable files in one line: up to ten by name, and one remedy per type.

    `root`: their folder.
    """
    if len(failures) == 1:
        return str(failures[0])
    named = [f"{failure.path.relative_to(root)}: {failure.reason}" for failure in failures[:NAMED]]
    named += [f"and {len(failures) - NAMED:,} more"] if len(failures) > NAMED else []
    first = {type(failure): failure for failure in reversed(failures)}
    kinds = sorted(first.values(), key=failures.index)
    remedies = [f"of {failure.path.relative_to(root)}: {failure.remedy}" for failure in kinds]
    return f"{len(failures):,} files cannot be used: {', '.join(named)}; {'; '.join(remedies)}"
