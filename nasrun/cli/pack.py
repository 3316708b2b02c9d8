"""`nasrun pack DIR` and `nasrun unpack FILE.zip`: runs as one file with everything needed to repeat them except
data."""

from collections.abc import Sequence
from pathlib import Path

from nasrun.cli.arguments import Arguments, directory_among
from nasrun.cli.ending import DONE, say
from nasrun.core.options import ConfigError, shell_command
from nasrun.core.words import counted

PACK_USAGE = "nasrun pack DIR [--out FILE.zip]"
UNPACK_USAGE = "nasrun unpack FILE.zip [FOLDER]"


def pack(words: Sequence[str]) -> int:
    """Pack the runs of a folder and return the exit code."""
    parser = Arguments("pack", PACK_USAGE, __doc__)
    parser.add_argument("words", nargs="*", metavar="DIR", help="a run, or a folder with runs in it, such as a sweep")
    parser.add_argument("--out", type=Path, help="the output file; default: DIR.zip in the working directory")
    flags = parser.parse_intermixed_args(list(words))
    directory, others = directory_among(flags.words, "pack", PACK_USAGE)
    if others:
        raise ConfigError(f"{others[0]}: not expected; usage: {PACK_USAGE}")
    from nasrun.reports.compare.runs import find_runs
    from nasrun.storage import pack as packs

    path = flags.out or Path(f"{directory.resolve().name}.zip")
    made = packs.pack(find_runs([directory]), directory, path if path.suffix == ".zip" else Path(f"{path}.zip"))
    for remark in made.remarks:
        say(remark, DONE)
    size = made.path.stat().st_size / 1e6
    print(f"{counted(made.runs, 'run')} packed into {made.path} ({size:.1f} MB)")
    print(f"to unpack them elsewhere, type: {shell_command('unpack', made.path.name)}")
    return DONE


def unpack(words: Sequence[str]) -> int:
    """Unpack a pack and return the exit code."""
    parser = Arguments("unpack", UNPACK_USAGE, __doc__)
    parser.add_argument("words", nargs="*", metavar="FILE.zip FOLDER", help="a pack, and the new folder for its runs")
    found = list(parser.parse_args(list(words)).words)
    if not found or len(found) > 2:
        raise ConfigError(f"unpack: expected a file; usage: {UNPACK_USAGE}")
    path = Path(found[0])
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; usage: {UNPACK_USAGE}")
    from nasrun.storage.pack import unpack as take_out

    folder = take_out(path, Path(found[1]) if len(found) == 2 else Path(path.stem))
    print(f"unpacked into {folder}; to repeat the runs, type: {shell_command('rerun', folder)}")
    return DONE
