"""Places of trades and candles in the entries of the log."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, LiteralString, NamedTuple

from psycopg import AsyncConnection
from psycopg.rows import args_row, scalar_row

from market_data.errors import Conflict, Gone, NotFound
from market_data.proof.entries import microseconds, parse_entry
from market_data.proof.merkle import inclusion_path, leaf_hash, root_of
from market_data.proof.notes import encode64
from market_data.proof.receipts import Place, receipt
from market_data.queries.intervals import INTERVALS
from market_data.queries.log import PART, LoggedEntry, read_entry
from market_data.queries.log_leaves import Commit, Leaf, read_commits, read_leaf_pages, read_leaves
from market_data.queries.log_tree import read_inclusion
from market_data.queries.trade_changes import is_before_horizon
from market_data.queries.trades import TradeKey

Connection = AsyncConnection[Any]

NOT_YET = "is not in a signed checkpoint yet; one follows within a minute."


class Signed(NamedTuple):
    """Checkpoint as it is served."""

    size: int
    note: str


CHECKPOINT = """
    SELECT size, note || coalesce((
        SELECT string_agg(line, '' ORDER BY witness) FROM log_cosignatures WHERE log_cosignatures.size = log_checkpoints.size
    ), '')
    FROM log_checkpoints
    ORDER BY size DESC
    LIMIT 1
"""


async def read_checkpoint(connection: Connection) -> Signed | None:
    """Return the newest checkpoint, with the cosignatures that it has; None before the first."""
    cursor = connection.cursor(binary=True, row_factory=args_row(Signed))
    await cursor.execute(CHECKPOINT, prepare=True)
    return await cursor.fetchone()


# The newest block that began before a write nearly always has it; a slow statement is in an earlier one.
VERSION_OF_WRITE: LiteralString = """
    SELECT c.version
    FROM (SELECT DISTINCT block FROM commit_blocks WHERE write_id <= found.write_id ORDER BY block DESC LIMIT 100) AS b
    CROSS JOIN LATERAL (
        SELECT version
        FROM commits
        WHERE version >= b.block * 10000 AND version < (b.block + 1) * 10000 AND write_id = found.write_id
            AND kind = ANY (found.kinds)
        LIMIT 1
    ) AS c
    LIMIT 1
"""

# The trade as it is, or else its last change.
TRADE: LiteralString = f"""
    SELECT leaf, change_id, ({VERSION_OF_WRITE})
    FROM (
        (
            SELECT
                log_trade_leaf(symbol, time, trade_id, price, volume) AS leaf, NULL::bigint AS change_id, write_id,
                '{{store,correct}}'::text[] AS kinds
            FROM trades
            WHERE symbol = %(symbol)s AND time = %(time)s AND trade_id = %(trade_id)s::bigint
        )
        UNION ALL
        (
            SELECT log_change_leaf(c), c.id, c.write_id, '{{correct,cancel}}'
            FROM trade_changes AS c
            WHERE symbol = %(symbol)s AND time = %(time)s AND trade_id = %(trade_id)s AND action <> 'truncate'
            ORDER BY id DESC
            LIMIT 1
        )
    ) AS found
    LIMIT 1
"""


async def read_trade_receipt(connection: Connection, trade: TradeKey) -> str:
    """Return the receipt of a trade as it is stored; of a cancelled trade, that of its cancellation.

    Raises:
        NotFound: There is no such trade, or it is not in the log.
        Gone: It may have been dropped.
        Conflict: The trades of its commit are not those of the log.
    """
    cursor = connection.cursor(binary=True)
    await cursor.execute(TRADE, trade._asdict())
    row = await cursor.fetchone()
    if row is None:
        if await is_before_horizon(connection, trade.time):
            raise Gone("Trades of that time have been dropped, so there are no receipts of them.")
        raise NotFound(f"There is no trade {trade.trade_id} of {trade.symbol} at that time.")
    leaf, change_id, version = row
    entry = await read_entry(connection, version or 0)
    if entry is None:
        begin = await _read_begin(connection)
        if version is None or version <= begin:
            raise NotFound(f"The trade was committed before the log begins, after version {begin}.")
        raise NotFound(f"The trade {NOT_YET}")
    (commit,) = await read_commits(connection, version - 1, 1, version)
    key = Leaf(commit.write_id or 0, None if change_id else trade.symbol, trade.time, change_id or trade.trade_id, b"")
    place = await _trade_place(connection, commit, entry, leaf, key)
    return await _receipt(connection, entry, place)


BEGIN = "SELECT version FROM log_entries WHERE index = 0"


async def _read_begin(connection: Connection) -> int:
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(BEGIN)
    return await cursor.fetchone() or 0


async def _receipt(connection: Connection, entry: LoggedEntry, place: Place) -> str:
    checkpoint = await read_checkpoint(connection)
    if checkpoint is None or checkpoint.size <= entry.number:
        raise NotFound(f"Entry {entry.number} {NOT_YET}")
    path = await read_inclusion(connection, entry.number, checkpoint.size)
    return receipt(entry.entry, place, entry.number, path, checkpoint.note)


PARTS = "SELECT hash FROM log_parts WHERE entry = %s ORDER BY part"
PART_OF_TRADE = """
    SELECT part, symbol, time, trade_id
    FROM log_parts
    WHERE entry = %(entry)s AND CASE
        WHEN %(symbol)s::text IS NULL THEN symbol IS NOT NULL OR trade_id <= %(id)s
        ELSE (symbol COLLATE "C", time, trade_id) <= (%(symbol)s, %(time)s, %(id)s)
    END
    ORDER BY part DESC
    LIMIT 1
"""


async def _read_parts(connection: Connection, entry: LoggedEntry) -> list[bytes]:
    cursor = connection.cursor(binary=True, row_factory=scalar_row)
    await cursor.execute(PARTS, (entry.number,))
    return await cursor.fetchall()


async def _trade_place(connection: Connection, commit: Commit, entry: LoggedEntry, leaf: str, key: Leaf) -> Place:
    parts = await _read_parts(connection, entry)
    part = 0
    if parts:
        cursor = connection.cursor(binary=True)
        parameters = {"entry": entry.number, "symbol": key.symbol, "time": key.time, "id": key.trade_id}
        await cursor.execute(PART_OF_TRADE, parameters)
        row = await cursor.fetchone()
        if row is None:
            raise _differs(entry)
        part, first_symbol, first_time, first_id = row
        leaves: list[Leaf] = []
        async for page in read_leaf_pages(
            connection, commit, Leaf(key.write_id, first_symbol, first_time, first_id, b""), PART
        ):
            leaves += page
            if len(leaves) >= PART:
                break
        leaves = leaves[:PART]
    else:
        leaves = (await read_leaves(connection, [commit]))[key.write_id]
    number = _position(leaves, key, entry)
    return _place(entry, leaf, number, [each.hash for each in leaves], part, parts)


def _position(leaves: Sequence[Leaf], key: Leaf, entry: LoggedEntry) -> int:
    for number, each in enumerate(leaves):
        if (each.symbol, each.trade_id) == (key.symbol, key.trade_id) and (key.symbol is None or each.time == key.time):
            return number
    raise _differs(entry)


def _place(entry: LoggedEntry, leaf: str, number: int, hashes: Sequence[bytes], part: int, parts: Sequence[bytes]) -> Place:
    """Return the place of a leaf of a part; parts are subtrees, so its path goes on with theirs."""
    lines = parse_entry(entry.entry)
    root = root_of(hashes)
    size = int(lines["candles"]) if entry.kind == "candles" else int(lines["trades"]) + int(lines["changes"])
    fits = root == parts[part] if parts else encode64(root) == lines["root"]
    if not fits or hashes[number] != leaf_hash(leaf.encode()):
        raise _differs(entry)
    path = [*inclusion_path(hashes, number), *(inclusion_path(parts, part) if parts else ())]
    return Place(leaf, part * PART + number, size, path)


def _differs(entry: LoggedEntry) -> Conflict:
    return Conflict(
        f"The trades of version {entry.version} are not those of the log: somebody changed them beside the service. "
        "`market-data verify` tells more."
    )


ENTRY_OF_CANDLES = """
    SELECT index, kind, version, entry
    FROM log_entries
    WHERE kind = 'candles' AND version <= %s
    ORDER BY version DESC
    LIMIT 1
"""
# Its trades and the changes of them, as of a version.
CANDLE: LiteralString = f"""
    SELECT max(({VERSION_OF_WRITE}))
    FROM (
        SELECT write_id, '{{store,correct}}'::text[] AS kinds
        FROM candles_as_of(%(interval)s, %(version)s::bigint, %(symbol)s, %(start)s, %(next)s)
        UNION ALL
        SELECT DISTINCT write_id, '{{correct,cancel}}'::text[]
        FROM trade_changes
        WHERE symbol = %(symbol)s AND time >= %(start)s AND time < %(end)s AND action <> 'truncate'
    ) AS found
    WHERE ({VERSION_OF_WRITE}) <= %(version)s
"""
NEXT_CANDLES = """
    SELECT index, kind, version, entry
    FROM log_entries
    WHERE kind = 'candles' AND version >= %s
    ORDER BY version
    LIMIT 1
"""
PART_OF_CANDLE = "SELECT part, leaves FROM log_parts WHERE entry = %s AND position(%s IN leaves) > 0 LIMIT 1"


async def _read_logged(connection: Connection, statement: LiteralString, version: int) -> LoggedEntry | None:
    cursor = connection.cursor(binary=True, row_factory=args_row(LoggedEntry))
    await cursor.execute(statement, (version,))
    return await cursor.fetchone()


async def read_candle_receipt(
    connection: Connection, symbol: str, interval: str, start: datetime, version: int | None
) -> str:
    """Return the receipt of a candle as it stood at the last entry of candles up to a version, by default the newest.

    Raises:
        NotFound: There is no such candle in the log.
        Conflict: Its leaf is not the one of the log.
    """
    newest = await _read_logged(connection, ENTRY_OF_CANDLES, (1 << 62) if version is None else version)
    missing = NotFound(f"The log has no candle {interval} of {symbol} at that time, or not yet; entries follow each minute.")
    if newest is None:
        raise missing
    cursor = connection.cursor(binary=True)
    end: datetime = start + INTERVALS.get(interval, timedelta())
    parameters = {"interval": interval, "version": newest.version, "symbol": symbol, "start": start, "end": end}
    parameters["next"] = start + timedelta(microseconds=1)
    await cursor.execute(CANDLE, parameters)
    ((changed,),) = await cursor.fetchall()
    entry = await _read_logged(connection, NEXT_CANDLES, changed) if changed else None
    if entry is None:
        raise missing
    prefix = f'["candle", "{symbol}", "{interval}", {microseconds(start)}, '
    await cursor.execute(PART_OF_CANDLE, (entry.number, prefix))
    row = await cursor.fetchone()
    if row is None:
        raise missing
    part, text = row
    leaves = text.split("\n")
    number = next(number for number, leaf in enumerate(leaves) if leaf.startswith(prefix))
    hashes = [leaf_hash(leaf.encode()) for leaf in leaves]
    parts = await _read_parts(connection, entry)
    return await _receipt(connection, entry, _place(entry, leaves[number], number, hashes, part, parts))
