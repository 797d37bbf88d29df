"""The same reads with asyncpg and orjson in one ASGI callable, without a framework.

It supports the parameters of the benchmark and validates no more than necessary; requests are not coalesced. Connections are
not reset when they return to the pool, which would take a round trip, because reads leave no state behind.
"""

# Asyncpg and orjson are in the group `benchmarks`, which the checks do not install.
# pyright: reportMissingImports=false

import os
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlencode

import asyncpg
import orjson
from page_tokens import page_token, read_page_token

NEWEST = """
    SELECT symbol, price::float8, volume::float8, time AS timestamp FROM latest_trades WHERE symbol = $1
"""
TRADES = """
    SELECT symbol, price::float8, volume::float8, time AS timestamp, trade_id
    FROM trades
    WHERE symbol = $1 AND time >= $2 AND time < $3
    ORDER BY time DESC, trade_id DESC
    LIMIT $4
"""
TRADES_AFTER = """
    SELECT symbol, price::float8, volume::float8, time AS timestamp, trade_id
    FROM trades
    WHERE symbol = $1 AND time >= $2 AND time <= $3 AND (time, trade_id) < ($3, $5::bigint)
    ORDER BY time DESC, trade_id DESC
    LIMIT $4
"""
CANDLES = """
    SELECT
        bucket AS timestamp, open::float8, high::float8, low::float8, close::float8, volume::float8,
        (turnover / nullif(volume, 0))::float8 AS vwap, trade_count, bucket + INTERVAL '1 minute' <= now() AS closed
    FROM candles_1m
    WHERE symbol = $1 AND bucket >= $2 AND bucket < $3
    ORDER BY bucket
    LIMIT $4
"""
CANDLES_AFTER = CANDLES.replace("bucket >= $2", "bucket > $2")
IS_KNOWN = "SELECT EXISTS (SELECT FROM symbols WHERE symbol = $1)"


class Refused(Exception):
    """Error response with a status and a reason."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class BareService:
    """The ASGI application."""

    def __init__(self) -> None:
        self._reads: dict[str, Callable[[dict[str, str]], Any]] = {
            "/price/latest": self._latest_price,
            "/trades": self._trades,
            "/candles": self._candles,
        }

    async def __call__(self, scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        query = dict(parse_qsl(scope["query_string"].decode()))
        headers = [(b"content-type", b"application/json")]
        try:
            if (read := self._reads.get(scope["path"])) is None:
                raise Refused(404, f"There is nothing at {scope['path']}.")
            status, answer = 200, await read(query)
            if token := answer.get("next_page_token"):
                link = f'<{scope["path"]}?{urlencode({**query, "page_token": token})}>; rel="next"'
                headers.append((b"link", link.encode()))
        except (Refused, KeyError, ValueError) as error:
            status = error.status if isinstance(error, Refused) else 400
            answer = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": str(error)}
            headers = [(b"content-type", b"application/problem+json")]
        body = orjson.dumps(answer, option=orjson.OPT_UTC_Z)
        headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _live(self, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        await receive()
        size = int(os.environ["POOL_SIZE"])
        self._pool = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=size, max_size=size, reset=_keep)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._pool.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _latest_price(self, query: dict[str, str]) -> dict[str, Any]:
        symbol = query["symbol"].upper()
        row = await self._pool.fetchrow(NEWEST, symbol)
        if row is None:
            await self._require(symbol)
            raise Refused(404, f"{symbol} has no trade yet.")
        return dict(row)

    async def _trades(self, query: dict[str, str]) -> dict[str, Any]:
        symbol, start, end, limit = _asked(query, default=100, highest=1000)
        if "page_token" in query:
            time, number = read_page_token(query["page_token"])
            rows = await self._pool.fetch(TRADES_AFTER, symbol, start, time, limit + 1, number)
        else:
            rows = await self._pool.fetch(TRADES, symbol, start, end, limit + 1)
        if not rows:
            await self._require(symbol)
        token = page_token(rows[limit - 1]["timestamp"], rows[limit - 1]["trade_id"]) if len(rows) > limit else None
        trades = [dict(row) for row in rows[:limit]]
        return {
            "symbol": symbol,
            "start": start,
            "end": end,
            "limit": limit,
            "count": len(trades),
            "trades": trades,
            "next_page_token": token,
        }

    async def _candles(self, query: dict[str, str]) -> dict[str, Any]:
        symbol, start, end, limit = _asked(query, default=10000, highest=10000)
        if query["interval"] != "1m":
            raise Refused(400, "interval must be 1m.")
        if "page_token" in query:
            after, _ = read_page_token(query["page_token"])
            rows = await self._pool.fetch(CANDLES_AFTER, symbol, after, end, limit + 1)
        else:
            rows = await self._pool.fetch(CANDLES, symbol, start, end, limit + 1)
        if not rows:
            await self._require(symbol)
        candles = [dict(row) for row in rows[:limit]]
        return {
            "symbol": symbol,
            "interval": "1m",
            "start": start,
            "end": end,
            "count": len(candles),
            "candles": candles,
            "next_page_token": page_token(candles[-1]["timestamp"], 0) if len(rows) > limit else None,
        }

    async def _require(self, symbol: str) -> None:
        if not await self._pool.fetchval(IS_KNOWN, symbol):
            raise Refused(404, f"No symbol {symbol!r}.")


def _asked(query: dict[str, str], *, default: int, highest: int) -> tuple[str, datetime, datetime, int]:
    start, end = (datetime.fromisoformat(query[name]).astimezone(UTC) for name in ("start", "end"))
    limit = int(query.get("limit", default))
    if start >= end or not 1 <= limit <= highest:
        raise Refused(400, f"start must be before end, limit from 1 to {highest}.")
    return query["symbol"].upper(), start, end, limit


async def _keep(_connection: object) -> None:
    pass


def create() -> BareService:
    """Return the application for DATABASE_URL and POOL_SIZE."""
    return BareService()
