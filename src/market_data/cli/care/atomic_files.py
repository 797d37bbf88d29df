"""Files and folders that have their name only once they are complete and on the disk."""

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

from market_data.errors import CommandFailed


@contextmanager
def draft(path: Path) -> Generator[Path]:
    """A name beside `path`, where there is nothing yet: what the block puts there becomes `path`, unless it fails.

    Raises:
        CommandFailed: There is something already, or it can't be written.
    """
    path = path.absolute()
    if path.exists():
        raise CommandFailed(f"{path} exists already; choose another name.")
    if not path.parent.is_dir():
        raise CommandFailed(f"There is no folder {path.parent} to write to.")
    beside = path.with_name(f".{path.name}.{token_hex(4)}.partial")
    try:
        yield beside
        sync_all(beside)
        beside.rename(path)
        _sync(path.parent)
    except OSError as error:
        raise CommandFailed(f"{path} can't be written: {error.strerror or error}.") from None
    finally:
        if beside.is_dir():
            shutil.rmtree(beside, ignore_errors=True)
        else:
            beside.unlink(missing_ok=True)


def own_file(path: Path) -> None:
    """Make an empty file that nobody else may read."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def sync_all(path: Path) -> None:
    """Have a file, or all in a folder, on the disk."""
    if path.is_dir():
        for folder, _, files in os.walk(path):
            for name in files:
                _sync(Path(folder, name))
            _sync(Path(folder))
    else:
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def size(path: Path) -> int:
    """Bytes of a file, or of all in a folder."""
    files = (each for each in path.rglob("*") if each.is_file()) if path.is_dir() else (path,)
    return sum(each.stat().st_size for each in files)
