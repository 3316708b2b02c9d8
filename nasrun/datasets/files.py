"""The files of a published data set: their names and checksums, and the check that lets one into the cache."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from nasrun.datasets.base import DatasetError
from nasrun.datasets.idx import read_unpacked


@dataclass(frozen=True)
class File:
    """One file: its name without `.gz`, and the size in bytes and the SHA-256 of its unpacked content."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Published:
    """A data set that its authors published, and where its files can be found.

    `folder`: name of the folder that holds the files, below a root or in the cache. `homes`: addresses below which
    they lie as `<name>.gz`, or as one tar file `archive` of at most `archive_size` bytes that holds `<folder>/<name>`.
    `system`: folder that the Debian package `package` installs them in, as `<name>.gz`.
    """

    folder: str
    files: tuple[File, ...]
    homes: tuple[str, ...]
    archive: str | None = None
    archive_size: int = 0
    system: str | None = None
    package: str | None = None


def admit(fetched: Path, file: File, cached: Path) -> str | None:
    """Move a fetched file (packed where its name ends in `.gz`) into the folder `cached`, if its content is right.

    The move is one rename, so that no other process ever sees half of a file. Returns None when the file is in place,
    else what is wrong with it; then it is left where it is. OSError if the cache cannot be written.
    """
    try:
        data = read_unpacked(fetched, file.size)
    except DatasetError as error:
        return str(error).removeprefix(f"{fetched}: ")
    content = hashlib.sha256(data).hexdigest()
    if content != file.sha256:
        return f"wrong content: SHA-256 {content} unpacked, not {file.sha256}"
    fetched.replace(cached / (f"{file.name}.gz" if fetched.suffix == ".gz" else file.name))
    return None
