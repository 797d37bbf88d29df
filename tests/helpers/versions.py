"""Queries for tests of versions."""

from datetime import datetime
from typing import Any

from helpers.support import Connection, one, trade

INSERT = "INSERT INTO trades (time, symbol, trade_id, price, volume) VALUES (%s, %s, %s, %s, %s)"
COMMITS = "SELECT kind, trade_count, first_time, last_time FROM commits ORDER BY version"
TRADE_COUNT = "SELECT sum(trade_count)::bigint FROM data_version"


def commits(connection: Connection) -> list[tuple[Any, ...]]:
    """Return kind, number of trades, smallest and greatest time of each commit."""
    return connection.execute(COMMITS).fetchall()


def trade_count_is_correct(connection: Connection) -> bool:
    """True if `data_version` has the number of stored trades."""
    return one(connection, TRADE_COUNT) == one(connection, "SELECT count(*) FROM trades")


def at(seconds: float) -> datetime:
    """Return the time a number of seconds after T0."""
    return trade(seconds, "1")[0]
