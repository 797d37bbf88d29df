"""Processor time of reading the trades of `POST /trades`, as ratios: `uv run python tests/benchmarks/trade_bodies.py`.

10,000 trades are read from a request as in the handler: decoded, validated and keyed by index, without a database. They are
compared, in turns, with

- plain: msgspec decodes the same bytes into dicts with floats, unvalidated, which is the least that any service does, and
- field by field: the slow path, which a call takes if one of its trades is invalid or unusual.

Figures are medians, with the lowest and the highest round in brackets.
"""

import asyncio
import json
import statistics
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec
from litestar import Request
from litestar.testing import RequestFactory

from market_data.api.http.trade_bodies import MAX_TRADES, read_trades
from market_data.app import create_app
from market_data.settings import Settings

ROUNDS = 15
PIECE_BYTES = 65_536
"""As uvicorn passes a body on."""

SETTINGS = Settings(database_url="postgresql:///nowhere")
TRADES = [
    {
        "symbol": ("AAPL", "MSFT")[number % 2],
        "price": 100 + number / 100,
        "volume": 3.25,
        "timestamp": f"2026-02-08T10:30:{number % 60:02}.{number:06}Z",
        "trade_id": number,
    }
    for number in range(MAX_TRADES)
]
UNUSUAL = [trade | {"price": f"+{trade['price']}"} for trade in TRADES]


def main() -> None:
    app = create_app(SETTINGS)
    app.state.services = SimpleNamespace(settings=SETTINGS)
    factory = RequestFactory(app=app)

    def reading(media_type: str, body: bytes) -> Callable[[], float]:
        return lambda: asyncio.run(_read(factory, media_type, body))

    body = json.dumps(TRADES).encode()
    contenders = {
        "JSON": reading("application/json", body),
        "NDJSON": reading("application/x-ndjson", "\n".join(map(json.dumps, TRADES)).encode()),
        "field by field": reading("application/json", json.dumps(UNUSUAL).encode()),
        "plain": lambda: _decode(body),
    }
    rounds = [{name: run() * 1e3 for name, run in contenders.items()} for _ in range(ROUNDS + 1)][1:]
    print(f"{'':16}{'ms':>8}   {'÷ plain':22}{'÷ field by field':22}")
    for name in contenders:
        own = [each[name] for each in rounds]
        ratios = [_ratios(own, [each[other] for each in rounds]) for other in ("plain", "field by field")]
        print(f"{name:16}{statistics.median(own):8.1f}   " + "".join(f"{ratio:22}" for ratio in ratios))


async def _read(factory: RequestFactory, media_type: str, body: bytes) -> float:
    pieces = iter([body[start : start + PIECE_BYTES] for start in range(0, len(body), PIECE_BYTES)])

    async def receive() -> Any:
        piece = next(pieces, None)
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    # Not `post`, which stores an empty body in the scope.
    request = Request[Any, Any, Any](factory.get("/trades", headers={"content-type": media_type}).scope, receive)
    start = time.process_time()
    trades = await read_trades(request)
    took = time.process_time() - start
    assert len(trades.trades) == MAX_TRADES
    return took


def _decode(body: bytes) -> float:
    start = time.process_time()
    msgspec.json.decode(body)
    return time.process_time() - start


def _ratios(above: list[float], below: list[float]) -> str:
    ratios = [one / other for one, other in zip(above, below, strict=True)]
    return f"{statistics.median(ratios):.2f} [{min(ratios):.2f}-{max(ratios):.2f}]"


if __name__ == "__main__":
    main()
