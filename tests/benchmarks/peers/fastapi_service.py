"""The same contract with FastAPI, SQLAlchemy and Pydantic, as in their documentation.

It is optimized: a pool as large as the service's, connections in autocommit (one round trip a read instead of three) that
return to the pool before the response is sent, columns instead of entities, numbers cast by the database (no `Decimal`),
statements prepared by psycopg, latest trades from their table, and responses that Pydantic encodes to bytes. It supports the
parameters of the benchmark, and has no ETags, metrics or logs.
"""

# FastAPI and Pydantic are in the group `benchmarks`, which the checks do not install.
# pyright: reportMissingImports=false

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlencode

from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi_tables import CANDLES, NEWEST, TRADES, CandleRow, NewestTradeRow, SymbolRow, TradeRow
from page_tokens import Key, page_token, read_page_token
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, StringConstraints
from sqlalchemy import exists, select, tuple_
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from starlette.exceptions import HTTPException as AnyHTTPException


class Model(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class LatestPrice(Model):
    symbol: str
    price: float
    volume: float
    timestamp: datetime


class Trade(LatestPrice):
    trade_id: int


class TradeList(Model):
    symbol: str
    start: datetime
    end: datetime
    limit: int
    count: int
    trades: list[Trade]
    next_page_token: str | None


class Candle(Model):
    timestamp: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float
    vwap: float | None
    trade_count: int
    closed: bool


class CandleList(Model):
    symbol: str
    interval: str
    start: datetime
    end: datetime
    count: int
    candles: list[Candle]
    next_page_token: str | None


async def _session(request: Request) -> AsyncIterator[AsyncSession]:
    async with request.app.state.sessions() as session:
        yield session


def _after(page_token: str | None = None) -> Key | None:
    try:
        return None if page_token is None else read_page_token(page_token)
    except ValueError:
        raise HTTPException(400, "page_token is none; give next_page_token of the answer before, unchanged.") from None


SYMBOL = r"^(?:\.?[A-Za-z0-9]|[$^])(?: ?[A-Za-z0-9._/^=:+&#@!*$()-])*$"
Symbol: TypeAlias = Annotated[str, StringConstraints(to_upper=True, pattern=SYMBOL, max_length=64)]
Time: TypeAlias = Annotated[AwareDatetime, AfterValidator(lambda time: time.astimezone(UTC))]
Session: TypeAlias = Annotated[AsyncSession, Depends(_session, scope="function")]  # returned before the response is sent
After: TypeAlias = Annotated[Key | None, Depends(_after)]


async def latest_price(symbol: Symbol, session: Session) -> LatestPrice:
    row = (await session.execute(NEWEST.where(NewestTradeRow.symbol == symbol))).one_or_none()
    if row is None:
        await _require(session, symbol)
        raise HTTPException(404, f"{symbol} has no trade yet.")
    return LatestPrice.model_validate(row)


async def trades(
    request: Request,
    response: Response,
    session: Session,
    after: After,
    symbol: Symbol,
    start: Time,
    end: Time,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> TradeList:
    _check_range(start, end)
    query = TRADES.where(TradeRow.symbol == symbol, TradeRow.time >= start, TradeRow.time < end).limit(limit + 1)
    if after:
        query = query.where(TradeRow.time <= after[0], tuple_(TradeRow.time, TradeRow.trade_id) < after)
    rows = (await session.execute(query)).all()
    if not rows:
        await _require(session, symbol)
    page = [Trade.model_validate(row) for row in rows[:limit]]
    token = page_token(page[-1].timestamp, page[-1].trade_id) if len(rows) > limit else None
    _link(request, response, token)
    return TradeList(symbol=symbol, start=start, end=end, limit=limit, count=len(page), trades=page, next_page_token=token)


async def candles(
    request: Request,
    response: Response,
    session: Session,
    after: After,
    symbol: Symbol,
    interval: Literal["1m"],
    start: Time,
    end: Time,
    limit: Annotated[int, Query(ge=1, le=10000)] = 10000,
) -> CandleList:
    _check_range(start, end)
    query = CANDLES.where(CandleRow.symbol == symbol, CandleRow.bucket >= start, CandleRow.bucket < end).limit(limit + 1)
    if after:
        query = query.where(CandleRow.bucket > after[0])
    rows = (await session.execute(query)).all()
    if not rows:
        await _require(session, symbol)
    page = [Candle.model_validate(row) for row in rows[:limit]]
    token = page_token(page[-1].timestamp, 0) if len(rows) > limit else None
    _link(request, response, token)
    return CandleList(
        symbol=symbol, interval=interval, start=start, end=end, count=len(page), candles=page, next_page_token=token
    )


def _check_range(start: datetime, end: datetime) -> None:
    if start >= end:
        raise HTTPException(400, "start must be before end.")


async def _require(session: AsyncSession, symbol: str) -> None:
    if not await session.scalar(select(exists().where(SymbolRow.symbol == symbol))):
        raise HTTPException(404, f"No symbol {symbol!r}.")


def _link(request: Request, response: Response, token: str | None) -> None:
    if token:
        query = urlencode({**request.query_params, "page_token": token})
        response.headers["Link"] = f'<{request.url.path}?{query}>; rel="next"'


def _problem(status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any) -> JSONResponse:
    content = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **more}
    return JSONResponse(content, status, headers, "application/problem+json")


async def _refused(_request: Request, error: AnyHTTPException) -> JSONResponse:
    return _problem(error.status_code, error.detail, error.headers)


async def _invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
    wrong = [{"name": str(each["loc"][-1]), "detail": each["msg"]} for each in error.errors()]
    return _problem(400, "Some parameters are wrong.", errors=wrong)


async def _unavailable(_request: Request, _error: Exception) -> JSONResponse:
    return _problem(503, "The database can't be reached or is too busy.", {"Retry-After": "1"})


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    engine = create_async_engine(
        os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://", 1),
        pool_size=int(os.environ["POOL_SIZE"]),
        max_overflow=0,
        isolation_level="AUTOCOMMIT",
        connect_args={"options": "-c timezone=UTC"},
    )
    app.state.sessions = async_sessionmaker(engine, expire_on_commit=False)
    yield
    await engine.dispose()


def create() -> FastAPI:
    """Return the application for DATABASE_URL and POOL_SIZE."""
    app = FastAPI(title="Market data", lifespan=_lifespan)
    app.get("/price/latest")(latest_price)
    app.get("/trades")(trades)
    app.get("/candles")(candles)
    app.exception_handler(AnyHTTPException)(_refused)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(OperationalError)(_unavailable)
    app.exception_handler(PoolTimeout)(_unavailable)
    return app
