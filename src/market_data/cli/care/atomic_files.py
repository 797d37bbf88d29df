"""Files and folders that get their final name once they are complete and on disk."""

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

from market_data.errors import CommandFailed


@contextmanager
def atomic_path(path: Path) -> Generator[Path]:
    """Yield an unused name beside `path`. The file or folder of that name becomes `path`, unless the block fails.

    Raises:
        CommandFailed: `path` exists already, or can't be written.
    """
    path = path.absolute()
    if path.exists():
        raise CommandFailed(f"{path} exists already; choose another name.")
    if not path.parent.is_dir():
        raise CommandFailed(f"The folder {path.parent} does not exist; create it, or choose another name.")
    partial = path.with_name(f".{path.name}.{token_hex(4)}.partial")
    try:
        yield partial
        sync_all(partial)
        partial.rename(path)
        _sync(path.parent)
    except OSError as error:
        raise CommandFailed(f"{path} can't be written: {error.strerror or error}.") from None
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


def sync_all(path: Path) -> None:
    """Write a file, or a folder with its contents, to disk (fsync)."""
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
    """Return the bytes of a file, or of the files in a folder."""
    files = (each for each in path.rglob("*") if each.is_file()) if path.is_dir() else (path,)
    return sum(each.stat().st_size for each in files)
