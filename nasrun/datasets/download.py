"""Downloads over HTTP with several mirrors; partial downloads are resumed, and files are verified before they are
kept."""

import gzip
import hashlib
import http.client
import shutil
import socket
import sys
import tarfile
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from nasrun.datasets.files import File, Published, admit

CONNECT_SECONDS = 5.0
"""Total seconds for all homes to accept a connection, after which the machine counts as offline."""
STALL_SECONDS = 15.0
"""Seconds without data from a server before the next one is tried."""

_CHUNK = 1 << 18


class _TransferError(Exception):
    """A download failed; the text says why, without the address."""


def fetch(published: Published, wanted: Sequence[File], cached: Path, homes: Sequence[str]) -> list[str]:
    """Download the wanted files of a data set to the folder `cached`. Returns the errors.

    A home that fails is tried last for the following files; the first file that no home has ends the download. OSError
    if the cache cannot be written.
    """
    usable, reasons = reachable([home.rstrip("/") for home in homes])
    if published.archive:
        for home in usable:
            failed = _fetch_archive(f"{home}/{published.archive}", published, wanted, cached)
            if not failed:
                break
            reasons.append(failed)
        return reasons
    for file in wanted:
        for home in tuple(usable):
            failed = _fetch_file(f"{home}/{file.name}.gz", file, cached)
            if not failed:
                break
            reasons.append(failed)
            usable.remove(home)
            usable.append(home)
        else:
            break
    return reasons


def reachable(homes: Sequence[str]) -> tuple[list[str], list[str]]:
    """The addresses whose servers accept a connection within `CONNECT_SECONDS`, and the errors of the others.

    All are tried at the same time, so that a firewall that drops packets costs this time only once. Addresses behind a
    proxy are assumed to be reachable.
    """
    outcome: dict[str, str | None] = {}

    def probe(home: str) -> None:
        parts = urlsplit(home)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            socket.create_connection((parts.hostname or "", port), CONNECT_SECONDS).close()
            outcome[home] = None
        except OSError as error:
            outcome[home] = error.strerror or str(error)

    proxies = urllib.request.getproxies()
    threads = []
    for home in homes:
        parts = urlsplit(home)
        if parts.scheme in proxies and not urllib.request.proxy_bypass(parts.netloc):
            outcome[home] = None
        else:
            threads.append(threading.Thread(target=probe, args=(home,), daemon=True))
            threads[-1].start()
    deadline = time.monotonic() + CONNECT_SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    found = {home: outcome.get(home, f"no answer in {CONNECT_SECONDS:g} s") for home in homes}
    return [home for home in homes if found[home] is None], [f"{home}: {why}" for home, why in found.items() if why]


def _fetch_file(url: str, file: File, cached: Path) -> str | None:
    """Download one gz file to the cache; the error with the address, or None."""
    part = _part(url, cached, f"{file.name}.gz")
    limit = file.size + (1 << 20)  # incompressible data make a gz slightly larger than its content
    resumed = part.exists()
    try:
        _get(url, part, limit)
        wrong = admit(part, file, cached)
        if wrong and resumed:  # the existing part was not the beginning of this file
            part.unlink()
            _get(url, part, limit)
            wrong = admit(part, file, cached)
    except _TransferError as failed:
        return f"{url}: {failed}"
    if wrong:
        part.unlink()
        return f"{url}: {wrong}"
    return None


def _fetch_archive(url: str, published: Published, wanted: Sequence[File], cached: Path) -> str | None:
    """Download a tar file and unpack the wanted files to the cache; the error with the address, or None."""
    part = _part(url, cached, published.archive or "")
    resumed = part.exists()
    try:
        _get(url, part, published.archive_size)
        wrong = unpack(part, published.folder, wanted, cached)
        if wrong and resumed:
            part.unlink()
            _get(url, part, published.archive_size)
            wrong = unpack(part, published.folder, wanted, cached)
    except _TransferError as failed:
        return f"{url}: {failed}"
    part.unlink()
    return f"{url}: {wrong}" if wrong else None


def unpack(archive: Path, folder: str, wanted: Sequence[File], cached: Path) -> str | None:
    """Extract the wanted members of a tar file to the cache, by name; all others are ignored."""
    missing = {f"{folder}/{file.name}": file for file in wanted}
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                file = missing.get(member.name.removeprefix("./"))
                if file is None or not member.isfile():
                    continue
                if member.size != file.size:
                    return f"{member.name} has {member.size:,} bytes, not {file.size:,}"
                unpacked = cached / f"part-{file.name}"
                source = tar.extractfile(member)
                assert source is not None  # it is a regular file
                with open(unpacked, "wb") as target:
                    shutil.copyfileobj(source, target, _CHUNK)
                if wrong := admit(unpacked, file, cached):
                    unpacked.unlink()
                    return f"{member.name}: {wrong}"
                del missing[f"{folder}/{file.name}"]
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        return f"not a whole tar file ({error})"
    return f"{next(iter(missing))} is not in it" if missing else None


def _part(url: str, cached: Path, name: str) -> Path:
    """The path of a partial download, with a separate name per address, because mirrors may compress differently."""
    return cached / f"part-{hashlib.sha256(url.encode()).hexdigest()[:8]}-{name}"


def _get(url: str, part: Path, limit: int) -> None:
    """Download to `part`, continuing at its end if it exists and the server supports it.

    _TransferError on failure; received data are kept for the next attempt.
    """
    have = part.stat().st_size if part.exists() else 0
    try:
        response = _open(url, have)
    except urllib.error.HTTPError as error:
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE or not have:
            raise _TransferError(f"HTTP {error.code} {error.reason}") from None
        part.unlink()  # the part is at least as long as the file
        return _get(url, part, limit)
    with response:
        if response.status != http.client.PARTIAL_CONTENT:
            have = 0
        length = response.headers.get("Content-Length", "")
        total = have + int(length) if length.isdigit() else None
        if (total or 0) > limit:
            raise _TransferError(f"{total:,} bytes are more than the {limit:,} it can have")
        with open(part, "ab" if have else "wb") as target, _progress(url, have, total) as advance:
            while chunk := _read(response):
                have += len(chunk)
                if have > limit:
                    part.unlink()
                    raise _TransferError(f"more than the {limit:,} bytes it can have")
                target.write(chunk)
                advance(len(chunk))
    if total is not None and have < total:
        raise _TransferError(f"the connection ended after {have:,} of {total:,} bytes")
    return None


def _open(url: str, have: int) -> http.client.HTTPResponse:
    request = urllib.request.Request(url, headers={"User-Agent": "nasrun"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=STALL_SECONDS)
        return response
    except urllib.error.HTTPError:
        raise
    except (OSError, http.client.HTTPException) as error:
        raise _TransferError(str(getattr(error, "reason", None) or error or type(error).__name__)) from None


def _read(response: http.client.HTTPResponse) -> bytes:
    # Reading and writing both raise OSError; only reading errors are the server's fault.
    try:
        return response.read(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _TransferError(str(error) or type(error).__name__) from None


@contextmanager
def _progress(url: str, have: int, total: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr if it is a terminal, else one line; yields a function to call with each byte count."""
    if not sys.stderr.isatty():
        print(f"downloading {url}", file=sys.stderr)
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(url.rsplit("/", 1)[-1], completed=have, total=total)
        yield lambda count: bar.advance(task, count)
