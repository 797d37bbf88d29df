"""Bodies of responses, kept for a moment so that all byte ranges of one read come from the same body.

The bodies are files that all workers of a service share: the ranges of a read reach any of them. There is one record per
client and URL (see `api/http/range_requests.py`), and one body per record.
"""

import asyncio
import fcntl
import os
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, closing, suppress
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import msgspec

FOLDER: Final = "MARKET_DATA_BODIES_FOLDER"
"""Environment variable with the folder that workers share."""

MAX_BODY_BYTES: Final = 64_000_000
MAX_TOTAL_BYTES: Final = 128_000_000
"""Bytes of all bodies of a service. Those of the drafts come on top."""
MAX_DRAFTS: Final = 2
"""Bodies that a worker receives at once."""
MAX_RECORDS: Final = 1_000

PAUSE_SECONDS: Final = 2.0
"""Pause between two requests after which a read counts as ended. Readers pause for milliseconds."""
MAX_SHARED_SECONDS: Final = 30.0
"""Age up to which further reads may share a body that is being read."""
KEPT_SECONDS: Final = 60.0
"""Time after the last request for a body until it is deleted. Its record stays."""

LOCKS: Final = 256
LOCK_RETRY_SECONDS: Final = 0.005

PIECE_BYTES: Final = 262_144


class Body(NamedTuple):
    """A complete body."""

    tag: str
    size: int
    settled: bool
    headers: list[tuple[bytes, bytes]]


class Record(msgspec.Struct):
    """State of the reads of one URL by one client. Times are those of the monotonic clock, which processes share."""

    tag: str = ""
    """Entity tag of the body; empty before the first one."""
    size: int = 0
    headers: list[tuple[bytes, bytes]] = []
    created: float = 0
    used: float = 0
    sent: list[tuple[int, int]] = []
    """Parts of the body that were sent since the last HEAD, sorted and apart from each other."""
    settled: bool = False
    """True if only late, corrected or cancelled trades can change the body."""
    has_head: bool = False
    """True if the client sends HEAD: then no range begins a read."""
    ambiguous_until: float = 0
    """End of the time in which a range may belong to this body, or to the one before."""

    def may_share(self, now: float) -> bool:
        """Return True if a read that begins now gets this body."""
        age = now - self.created
        return age < PAUSE_SECONDS or (age < MAX_SHARED_SECONDS and self.is_being_read(now))

    def is_being_read(self, now: float) -> bool:
        """Return True unless the last read has ended. Readers of Parquet skip the four bytes at its start."""
        is_complete = any(start <= len("PAR1") and stop == self.size for start, stop in self.sent)
        return bool(self.tag) and not is_complete and now - self.used < PAUSE_SECONDS

    def replace(self, body: "Body", now: float) -> None:
        """Take another body. While the one before is being read, no range can be sent for a moment."""
        if body.tag != self.tag:
            if self.is_being_read(now):
                self.ambiguous_until = now + PAUSE_SECONDS
            self.sent = []
        self.tag, self.size, self.settled, self.headers = body
        self.created = self.used = now

    def begin_read(self, now: float) -> None:
        """Note that the client sends HEAD, after which it reads the whole body, or parts of it."""
        self.has_head, self.sent, self.used = True, [], now

    def add_sent(self, part: range, now: float) -> None:
        """Note that a part is sent."""
        start, stop = part.start, part.stop
        others: list[tuple[int, int]] = []
        for each in self.sent:
            if each[0] <= stop and start <= each[1]:
                start, stop = min(start, each[0]), max(stop, each[1])
            else:
                others.append(each)
        self.sent, self.used = sorted([*others, (start, stop)]), now

    def has_sent_up_to(self, position: int) -> bool:
        """Return True if all bytes before a position were sent."""
        return bool(self.sent) and self.sent[0][0] == 0 and self.sent[0][1] >= position


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Record).decode


class Draft:
    """A body that is being received."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self.path = path
        self.size = 0
        self._is_detached = False
        self.file = os.fdopen(descriptor, "w+b")
        self._hash = blake2b(digest_size=16)

    def add(self, piece: bytes) -> bool:
        """Append a piece. Return False if the body becomes too large, or the disk is full."""
        if self.size + len(piece) > MAX_BODY_BYTES:
            return False
        try:
            self.file.write(piece)
            self.file.flush()
        except OSError:
            return False
        self._hash.update(piece)
        self.size += len(piece)
        return True

    @property
    def tag(self) -> str:
        """Strong entity tag of the bytes."""
        return f'"{self._hash.hexdigest()}"'

    def detach(self) -> IO[bytes]:
        """Return the file, which the caller closes."""
        detached, self._is_detached = self.file, True
        return detached

    def close(self) -> None:
        """Delete the file, unless it is the body of an entry now."""
        if not self._is_detached:
            with suppress(OSError):  # a full disk
                self.file.close()
        self.path.unlink(missing_ok=True)


def pieces_of(file: IO[bytes], part: range) -> Iterator[bytes]:
    """Yield a part of a file. It stays readable if another process deletes it."""
    for start in range(part.start, part.stop, PIECE_BYTES):
        yield os.pread(file.fileno(), min(PIECE_BYTES, part.stop - start), start)


class BodyStore:
    """The records and bodies in a folder."""

    def __init__(self, folder: Path | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """Without a folder, one for this process is created at the first use."""
        self._folder = folder
        self._own_folder: tempfile.TemporaryDirectory[str] | None = None
        self.clock = clock
        self.drafts = asyncio.Semaphore(MAX_DRAFTS)

    @property
    def folder(self) -> Path:
        """Folder of the bodies.

        Raises:
            OSError: It can't be created.
        """
        if self._folder is None:
            self._own_folder = bodies_folder()
            self._folder = Path(self._own_folder.name)
        return self._folder

    def close(self) -> None:
        """Delete the folder, unless workers share it."""
        if self._own_folder:
            self._own_folder.cleanup()

    @asynccontextmanager
    async def locked(self, key: str) -> AsyncGenerator["Entry"]:
        """Lock the entry of a key against other requests, also those of other workers.

        Raises:
            OSError: The folder is not writable.
        """
        descriptor = self._open_lock(key)
        try:
            while not _try_lock(descriptor):  # noqa: ASYNC110 - the lock may be that of another process
                await asyncio.sleep(LOCK_RETRY_SECONDS)
            yield Entry(self, key)
        finally:
            os.close(descriptor)  # also releases the lock, as the kernel does for a killed process

    def new_draft(self) -> Draft:
        """Return an empty draft.

        Raises:
            OSError: The folder is not writable.
        """
        descriptor, path = tempfile.mkstemp(prefix="draft-", dir=self.folder)
        return Draft(descriptor, Path(path))

    def make_room(self) -> None:
        """Delete bodies that are no longer read, then the least recently used ones above the limit, and old records."""
        files = {path: state for path in self.folder.iterdir() if (state := _state_of(path))}
        now = time.time()
        bodies = sorted((path for path in files if path.suffix == ".body"), key=lambda path: files[path].st_mtime)
        total = sum(files[path].st_size for path in bodies)
        for path in bodies:
            if total > MAX_TOTAL_BYTES or now - files[path].st_mtime > KEPT_SECONDS:
                path.unlink(missing_ok=True)
                total -= files[path].st_size
        records = sorted((path for path in files if path.suffix == ".record"), key=lambda path: files[path].st_mtime)
        for path in records[:-MAX_RECORDS]:
            path.unlink(missing_ok=True)
        for path, state in files.items():
            if path.name.startswith("draft-") and now - state.st_mtime > KEPT_SECONDS:  # of a worker that was killed
                path.unlink(missing_ok=True)

    def _open_lock(self, key: str) -> int:
        path = self.folder / f"lock-{int(key[:8], 16) % LOCKS}"
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            return os.open(path, flags, 0o600)
        except FileNotFoundError:  # something has tidied the folder of temporary files
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return os.open(path, flags, 0o600)


class Entry:
    """Record and body of a key, while the key is locked."""

    def __init__(self, store: BodyStore, key: str) -> None:
        self._store = store
        self._record_path = store.folder / f"{key}.record"
        self._body_path = store.folder / f"{key}.body"
        self.record = Record()
        with suppress(FileNotFoundError, msgspec.DecodeError):  # a process was killed while it wrote
            self.record = _decode(self._record_path.read_bytes())

    def open_body(self) -> IO[bytes] | None:
        """Return the file of the body; None if it was deleted."""
        if not self.record.tag or self._store.clock() - self.record.used > KEPT_SECONDS:
            return None
        with suppress(FileNotFoundError):
            return self._body_path.open("rb")
        return None

    def keep(self, draft: Draft) -> IO[bytes]:
        """Make a draft the body, and return its file. The record is saved later."""
        draft.path.replace(self._body_path)
        self._store.make_room()
        return draft.detach()

    def save(self) -> None:
        """Save the record, and mark the body as used."""
        self._record_path.write_bytes(_encode(self.record))
        with suppress(FileNotFoundError):
            os.utime(self._body_path)

    def forget(self) -> None:
        """Delete the record and the body."""
        self._record_path.unlink(missing_ok=True)
        self._body_path.unlink(missing_ok=True)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _state_of(path: Path) -> os.stat_result | None:
    with suppress(FileNotFoundError):
        return path.stat()
    return None


@asynccontextmanager
async def body_store() -> AsyncGenerator[BodyStore]:
    """Open the store that the workers of this service share, or one of this process if it is the only worker."""
    folder = os.environ.get(FOLDER)
    with closing(BodyStore(Path(folder) if folder else None)) as store:
        yield store


def bodies_folder() -> "tempfile.TemporaryDirectory[str]":
    """Create a folder for bodies."""
    return tempfile.TemporaryDirectory(prefix="market-data-bodies-", ignore_cleanup_errors=True)


def key_of(*parts: Any) -> str:
    """Return the key of an entry."""
    return blake2b(msgspec.msgpack.encode(parts), digest_size=16).hexdigest()
