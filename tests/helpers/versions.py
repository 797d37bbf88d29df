"""Queries for tests of versions."""

from datetime import datetime
from typing import Any, LiteralString

from helpers.support import Connection, trade

INSERT = "INSERT INTO trades (time, symbol, trade_id, price, volume) VALUES (%s, %s, %s, %s, %s)"
COMMITS = "SELECT kind, trade_count, first_time, last_time FROM commits ORDER BY version"
COUNTED = "SELECT sum(trade_count)::bigint FROM data_version"


def one(connection: Connection, query: LiteralString, *parameters: object) -> Any:
    """Return the only value of a result."""
    ((value,),) = connection.execute(query, parameters).fetchall()
    return value


def commits(connection: Connection) -> list[tuple[Any, ...]]:
    """Return kind, number of trades, smallest and greatest time of each commit."""
    return connection.execute(COMMITS).fetchall()


def counts_are_right(connection: Connection) -> bool:
    """True if data_version has the number of trades."""
    return one(connection, COUNTED) == one(connection, "SELECT count(*) FROM trades")


def at(seconds: float) -> datetime:
    """Return a time so many seconds after T0."""
    return trade(seconds, "1")[0]
