"""Compressed files, of which a small one can expand to more than the machine can store."""

import gzip
import importlib
import io
import zipfile
import zlib
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast

from market_data.errors import CommandFailed

MAX_EXPANSION = 200
"""Times by which a file of trades may expand; random walks expand about 5 times, and lines that differ only in time 30."""

UNCHECKED_BYTES = 50_000_000
"""Expanded bytes that are never too many."""

GZIP, ZSTD, ZIP, EMPTY_ZIP = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04", b"PK\x05\x06"
"""First bytes of files in these formats."""

UNREADABLE = (OSError, EOFError, zlib.error, zipfile.BadZipFile)
"""Errors of files that are damaged, cut off or too large."""

ENCRYPTED = 1
"""Flag of a member of a ZIP archive."""


def expanded(file: io.BufferedReader, name: str) -> tuple[io.BufferedReader, str]:
    """Return the expanded contents of a file, and the name of the member of a ZIP archive, else the file's name.

    Reading raises OSError if the contents are too large for the size of the file.

    Raises:
        CommandFailed: It is a ZIP archive that can't be read, or that contains several files.
    """
    start = file.peek(4)[:4]
    counted = _Counted(file)
    if start.startswith(GZIP):
        return _checked(gzip.GzipFile(fileobj=cast(BinaryIO, counted), mode="rb"), counted), name
    if start == ZSTD:
        arrow: Any = importlib.import_module("pyarrow")
        return _checked(arrow.CompressedInputStream(arrow.PythonFile(counted, "r"), "zstd"), counted), name
    return _open_zip(counted, name) if start in {ZIP, EMPTY_ZIP} else (file, name)


class _Counted:
    """A file whose bytes are counted when they are read."""

    def __init__(self, file: BinaryIO) -> None:
        self.bytes_read = 0
        self.seek = file.seek
        self.tell = file.tell
        self.seekable = file.seekable
        self.close = file.close
        self.closed = False
        self._file = file

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.bytes_read += len(data)
        return data


class _Expanded(io.RawIOBase):
    def __init__(self, contents: Any, source: _Counted) -> None:
        self._contents = contents
        self._source = source
        self._size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # pyright: ignore[reportIncompatibleMethodOverride] - only this type is used
        data = self._contents.read(len(buffer))
        buffer[: len(data)] = data
        self._size += len(data)
        if self._size > max(UNCHECKED_BYTES, MAX_EXPANSION * self._source.bytes_read):
            raise OSError(f"it expands to more than {MAX_EXPANSION} times its size, which trades do not")
        return len(data)

    def close(self) -> None:
        """Close the file, too."""
        super().close()
        self._source.close()


def _checked(contents: Any, source: _Counted) -> io.BufferedReader:
    return io.BufferedReader(_Expanded(contents, source))


def _open_zip(file: _Counted, name: str) -> tuple[io.BufferedReader, str]:
    if not file.seekable():
        raise CommandFailed("ZIP can't be read from standard input; pipe the output of `unzip -p`.")
    try:
        archive = zipfile.ZipFile(cast(BinaryIO, file))
        members = [member for member in archive.infolist() if not member.is_dir() and not _is_hidden(member.filename)]
        if len(members) != 1:
            shown = ", ".join(member.filename for member in members[:3])
            raise CommandFailed(f"{name} contains {len(members):,} files ({shown}…); extract them and import one at a time.")
        (member,) = members
        # The others expand without a limit on memory.
        if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED} or member.flag_bits & ENCRYPTED:
            raise CommandFailed(f"{name} is encrypted, or compressed by another method than deflate; extract it first.")
        return _checked(archive.open(member), file), member.filename
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise CommandFailed(f"{name} can't be read: {error}") from None


def _is_hidden(path: str) -> bool:
    """Return if macOS added the file to the archive, or if its name begins with a dot."""
    return path.startswith("__MACOSX/") or PurePosixPath(path).name.startswith(".")
