"""Table of the rate limit, in memory that all workers of a service share.

The supervisor creates it as a file, and each worker maps that file. The rate limits of libraries count in one process, or
ask another process at each request.
"""

import fcntl
import mmap
import os
import struct
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Final, Self

FILE: Final = "MARKET_DATA_LIMITS_FILE"
"""Environment variable with the path of the table that workers share."""

SLOTS_PER_BUCKET: Final = 8
"""Clients in a bucket."""
BUCKET: Final = struct.Struct(f"={SLOTS_PER_BUCKET}Q{SLOTS_PER_BUCKET}Q")
"""Hashes of the clients, then their times. A bucket is read and locked as a whole."""
SLOT: Final = struct.Struct("=Q")
BUCKETS: Final = 8192
"""Room for 65,536 clients that have used a part of their limit, in one megabyte."""
SECRET_BYTES: Final = 32
START: Final = 4096
"""Offset of the first bucket. The key of the hashes is before it."""
SIZE: Final = START + BUCKETS * BUCKET.size


class SharedBuckets:
    """Time at which the whole limit of a client is available again, by client, in nanoseconds of the monotonic clock.

    A client whose time has passed makes room for others. Hashes are keyed, so clients cannot choose addresses that share a
    bucket.
    """

    def __init__(self, memory: mmap.mmap, descriptor: int | None = None) -> None:
        self._memory = memory
        self._descriptor = descriptor
        self._secret = memory[:SECRET_BYTES]

    @classmethod
    def private(cls) -> Self:
        """Return a new table of this process."""
        memory = mmap.mmap(-1, SIZE)
        memory[:SECRET_BYTES] = os.urandom(SECRET_BYTES)
        return cls(memory)

    @classmethod
    def shared(cls, path: str) -> Self:
        """Return the table in a file of `shared_buckets_file`."""
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        return cls(mmap.mmap(descriptor, SIZE), descriptor)

    def hash_key(self, client: str) -> int:
        """Return the keyed hash that identifies a client in the table. It is never 0, which marks an empty slot."""
        return int.from_bytes(blake2b(client.encode(), digest_size=8, key=self._secret).digest()) or 1

    def advance(self, client: int, step: int, limit: int, now: int) -> tuple[bool, int]:
        """Move a client's time ahead by one step, unless it would then be more than `limit` ahead of now.

        Returns True if it was moved, and its distance from now.
        """
        offset = START + client % BUCKETS * BUCKET.size
        if self._descriptor is None:
            return self._advance(offset, client, step, limit, now)
        # Excludes other processes; in this one, only one thread runs this. The kernel releases the lock of a killed process.
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX, BUCKET.size, offset)
        try:
            return self._advance(offset, client, step, limit, now)
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, BUCKET.size, offset)

    def _advance(self, offset: int, client: int, step: int, limit: int, now: int) -> tuple[bool, int]:
        bucket = BUCKET.unpack_from(self._memory, offset)
        clients, times = bucket[:SLOTS_PER_BUCKET], bucket[SLOTS_PER_BUCKET:]
        if client in clients:
            slot = clients.index(client)
        else:
            slot = min(range(SLOTS_PER_BUCKET), key=times.__getitem__)
            if times[slot] > now:
                return True, step  # no room: admit an unknown client rather than reject it because of others
            SLOT.pack_into(self._memory, offset + slot * SLOT.size, client)
        ahead = max(times[slot] - now, 0)
        if ahead + step > limit:
            return False, ahead
        SLOT.pack_into(self._memory, offset + (SLOTS_PER_BUCKET + slot) * SLOT.size, now + ahead + step)
        return True, ahead + step


def open_buckets() -> SharedBuckets:
    """Return the table of this service's workers, or a new one if this process is the only worker."""
    path = os.environ.get(FILE)
    return SharedBuckets.shared(path) if path else SharedBuckets.private()


@contextmanager
def shared_buckets_file() -> Generator[None]:
    """Create a table for the workers that are started in the block."""
    with tempfile.TemporaryDirectory(prefix="market-data-limits-", ignore_cleanup_errors=True) as folder:
        path = Path(folder, "table")
        # Written in full: if the disk became full later, access to a hole in the file would kill the process (SIGBUS).
        path.write_bytes(os.urandom(SECRET_BYTES) + bytes(SIZE - SECRET_BYTES))
        os.environ[FILE] = str(path)
        try:
            yield
        finally:
            del os.environ[FILE]
