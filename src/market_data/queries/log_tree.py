"""Merkle tree of the log: hashes of entries and of full tiles, roots and proofs."""

from collections.abc import Mapping, Sequence
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import scalar_row

from market_data.proof.merkle import (
    TILE_HEIGHT,
    TILE_WIDTH,
    Range,
    consistency_ranges,
    fold,
    inclusion_ranges,
    root_of,
    subtrees,
)

Connection = AsyncConnection[Any]

HASHES: Mapping[bool, LiteralString] = {
    True: """
        SELECT sha256('\\x00'::bytea || entry)
        FROM log_entries
        WHERE %(level)s = 0 AND index >= %(start)s AND index < %(end)s
        ORDER BY index
    """,
    False: """
        SELECT hash
        FROM log_nodes
        WHERE level = %(level)s AND index >= %(start)s AND index < %(end)s
        ORDER BY index
    """,
}


async def read_hashes(connection: Connection, level: int, leaves: Range) -> list[bytes]:
    """Return hashes of a level of tiles: those of entries at level 0, of full tiles of the level below at the others."""
    cursor = connection.cursor(binary=True, row_factory=scalar_row)
    parameters = {"level": level, "start": leaves.start, "end": leaves.end}
    await cursor.execute(HASHES[level == 0], parameters, prepare=True)
    return await cursor.fetchall()


async def read_root(connection: Connection, leaves: Range) -> bytes:
    """Return the root of entries that are a subtree of the log, such as all of them, `Range(0, size)`.

    Raises:
        LookupError: The log has not that many entries.
    """
    roots: list[bytes] = []
    for height, index in subtrees(leaves):
        level, width = height // TILE_HEIGHT, 1 << height % TILE_HEIGHT
        hashes = await read_hashes(connection, level, Range(index * width, (index + 1) * width))
        if len(hashes) < width:
            raise LookupError(f"the log lacks entries of {leaves}")
        roots.append(root_of(hashes))
    return fold(roots)


async def read_inclusion(connection: Connection, index: int, size: int) -> list[bytes]:
    """Return the inclusion proof of an entry in the log of a size."""
    return [await read_root(connection, each) for each in inclusion_ranges(index, size)]


async def read_consistency(connection: Connection, old: int, new: int) -> list[bytes]:
    """Return the consistency proof between two sizes of the log."""
    return [await read_root(connection, each) for each in (consistency_ranges(old, new) if old else ())]


ENTRIES = "SELECT entry FROM log_entries WHERE index >= %s AND index < %s ORDER BY index"


async def read_entries(connection: Connection, leaves: Range) -> list[bytes]:
    """Return entries."""
    cursor = connection.cursor(binary=True, row_factory=scalar_row)
    await cursor.execute(ENTRIES, leaves, prepare=True)
    return await cursor.fetchall()


INSERT_NODES = """
    INSERT INTO log_nodes (level, index, hash)
    SELECT %s, %s + place - 1, hash
    FROM unnest(%s::bytea[]) WITH ORDINALITY AS new (hash, place)
"""


async def insert_nodes(connection: Connection, old: int, new: int) -> None:
    """Store the hashes of the tiles that have become full between two sizes."""
    level = 0
    while old != new:
        first, end = old // TILE_WIDTH, new // TILE_WIDTH
        tiles: Sequence[bytes] = [
            root_of(await read_hashes(connection, level, Range(tile * TILE_WIDTH, (tile + 1) * TILE_WIDTH)))
            for tile in range(first, end)
        ]
        level += 1
        if tiles:
            await connection.execute(INSERT_NODES, (level, first, tiles))
        old, new = first, end
