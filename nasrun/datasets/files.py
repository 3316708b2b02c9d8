"""The files of a published data set, with names and checksums, and the verified move to the cache."""

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
    """A published data set and the locations of its files.

    `folder`: name of the folder of the files, below a root or in the cache. `homes`: base addresses of `<name>.gz`, or
    of a tar file `archive` of at most `archive_size` bytes that contains `<folder>/<name>`. `system`: folder in which
    the Debian package `package` installs them as `<name>.gz`.
    """

    folder: str
    files: tuple[File, ...]
    homes: tuple[str, ...]
    archive: str | None = None
    archive_size: int = 0
    system: str | None = None
    package: str | None = None


def admit(fetched: Path, file: File, cached: Path) -> str | None:
    """Move a fetched file (compressed if its name ends in `.gz`) to the folder `cached` if its content is correct.

    The move is a rename, so that other processes never see an incomplete file. Returns None on success, else the error;
    then the file stays where it is. OSError if the cache cannot be written.
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
