"""How many requests each client may make, counted by all workers of a service together.

Of each client one number is kept: when its limit will be whole again (the generic cell rate algorithm, GCRA). A request
moves that time ahead by one share; one that would move it further ahead than the whole limit is refused. So a client may use
its limit all at once and gets it back evenly. The table of these numbers lies in memory; the supervisor of several workers
makes it, and each worker maps it. The limits of the libraries hold for one process, or ask another one at each request.
"""

import fcntl
import ipaddress
import mmap
import os
import struct
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple, Self

FILE: Final = "MARKET_DATA_LIMITS_FILE"
"""The environment variable that names the table which several workers share."""

SLOTS_PER_BUCKET: Final = 8
"""Clients that one row of the table has room for."""
ROW: Final = struct.Struct(f"={SLOTS_PER_BUCKET}Q{SLOTS_PER_BUCKET}Q")
"""First their names, then their numbers: one row is read and locked as a whole."""
SLOT: Final = struct.Struct("=Q")
ROWS: Final = 8192
"""Room for 65,536 clients that have used any of their limit, in one megabyte."""
SECRET_BYTES: Final = 32
START: Final = 4096
"""Where the rows begin. What the names are hashed with comes before them."""
SIZE: Final = START + ROWS * ROW.size

SECOND: Final = 1_000_000_000
"""In the table's unit, which is whole so that a thousand small steps add up to one large one."""


class RateLimitStatus(NamedTuple):
    """What a client may do, once a request of it was counted. Times are in seconds."""

    granted: bool
    remaining: int
    reset: int
    """Until the limit is whole again."""
    retry: int
    """Until the next request is granted; 0 where there is something left."""


class SharedBuckets:
    """What is remembered of the clients: the time, by the system's monotonic clock, at which each has its whole limit.

    One whose time has passed is forgotten. Their names are hashes that no stranger can compute, so that nobody can choose
    those that share a row.
    """

    def __init__(self, memory: mmap.mmap, descriptor: int | None = None) -> None:
        self._memory = memory
        self._descriptor = descriptor
        self._secret = memory[:SECRET_BYTES]

    @classmethod
    def own(cls) -> Self:
        """A table of this process alone."""
        memory = mmap.mmap(-1, SIZE)
        memory[:SECRET_BYTES] = os.urandom(SECRET_BYTES)
        return cls(memory)

    @classmethod
    def shared(cls, path: str) -> Self:
        """The table in a file that `shared_table` has made."""
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        return cls(mmap.mmap(descriptor, SIZE), descriptor)

    def name(self, client: str) -> int:
        """What a client is called in here."""
        return int.from_bytes(blake2b(client.encode(), digest_size=8, key=self._secret).digest()) or 1

    def advance(self, name: int, step: int, most: int, now: int) -> tuple[bool, int]:
        """Move a client's time ahead by one step, unless it would be more than `most` from now.

        Returns whether it was, and how far from now it is.
        """
        offset = START + name % ROWS * ROW.size
        if self._descriptor is None:
            return self._advance(offset, name, step, most, now)
        # Of this process, which has no threads that come here, against the others; ends with a process that is killed.
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX, ROW.size, offset)
        try:
            return self._advance(offset, name, step, most, now)
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, ROW.size, offset)

    def _advance(self, offset: int, name: int, step: int, most: int, now: int) -> tuple[bool, int]:
        row = ROW.unpack_from(self._memory, offset)
        names, times = row[:SLOTS_PER_BUCKET], row[SLOTS_PER_BUCKET:]
        if name in names:
            slot = names.index(name)
        else:
            slot = min(range(SLOTS_PER_BUCKET), key=times.__getitem__)
            if times[slot] > now:
                return True, step  # no room: somebody who is not known is let in rather than refused for others
            SLOT.pack_into(self._memory, offset + slot * SLOT.size, name)
        ahead = max(times[slot] - now, 0)
        if ahead + step > most:
            return False, ahead
        SLOT.pack_into(self._memory, offset + (SLOTS_PER_BUCKET + slot) * SLOT.size, now + ahead + step)
        return True, ahead + step


class RateLimiter:
    """Grants each client so many requests in so many seconds."""

    def __init__(
        self, limit: int, seconds: float, table: SharedBuckets, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self.limit = limit
        self.seconds = seconds
        self._table = table
        self._clock = clock
        self._step = int(seconds * SECOND) // limit
        self._most = self._step * limit
        # Of the clients that come again and again; what they are called never changes.
        self._name = lru_cache(4096)(table.name)
        self._name_of_address = lru_cache(4096)(self._name_address)

    def _name_address(self, address: str) -> int:
        return self._table.name(f"address {network(address)}")

    def take(self, client: int | str) -> RateLimitStatus:
        """Count a request of a client: the id of the key that it carries, or the address that it comes from."""
        name = self._name(f"key {client}") if isinstance(client, int) else self._name_of_address(client)
        granted, ahead = self._table.advance(name, self._step, self._most, self._clock())
        wait = max(0, ahead + self._step - self._most)
        return RateLimitStatus(granted, (self._most - ahead) // self._step, -(-ahead // SECOND), -(-wait // SECOND))


def limiter(limit: int, seconds: float) -> RateLimiter | None:
    """What counts the requests to this process, with those to the other workers where there are any; None for no limit."""
    if not limit:
        return None
    path = os.environ.get(FILE)
    return RateLimiter(limit, seconds, SharedBuckets.shared(path) if path else SharedBuckets.own())


@contextmanager
def shared_table() -> Generator[None]:
    """A new table for the workers that are started in the block."""
    with tempfile.TemporaryDirectory(prefix="market-data-limits-", ignore_cleanup_errors=True) as folder:
        path = Path(folder, "table")
        # Written in full: in a hole of a file there may be no room later, and a process that finds that out is killed.
        path.write_bytes(os.urandom(SECRET_BYTES) + bytes(SIZE - SECRET_BYTES))
        os.environ[FILE] = str(path)
        try:
            yield
        finally:
            del os.environ[FILE]


def network(address: str) -> str:
    """What an address counts as: an IPv6 one as its /64, which is the least that a client is given."""
    try:
        given = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(given, ipaddress.IPv4Address):
        return str(given)
    if given.ipv4_mapped:
        return str(given.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(given) >> 64 << 64, 64)))
