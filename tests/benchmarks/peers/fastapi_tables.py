"""SQLAlchemy models of the service's tables and views, and the selected columns."""

from datetime import datetime, timedelta
from typing import ClassVar

from sqlalchemy import DateTime, Double, Numeric, cast, func, literal, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Base class of the models."""

    # Without a time zone, a parameter would depend on the session, and the planner could not exclude chunks.
    type_annotation_map: ClassVar = {float: Numeric(asdecimal=False), datetime: DateTime(timezone=True)}


class SymbolRow(Base):
    __tablename__ = "symbols"
    symbol: Mapped[str] = mapped_column(primary_key=True)


class TradeColumns:
    symbol: Mapped[str] = mapped_column(primary_key=True)
    time: Mapped[datetime] = mapped_column(primary_key=True)
    trade_id: Mapped[int] = mapped_column(primary_key=True)
    price: Mapped[float]
    volume: Mapped[float]


class TradeRow(TradeColumns, Base):
    __tablename__ = "trades"


class NewestTradeRow(TradeColumns, Base):
    __tablename__ = "latest_trades"


class CandleRow(Base):
    __tablename__ = "candles_1m"
    symbol: Mapped[str] = mapped_column(primary_key=True)
    bucket: Mapped[datetime] = mapped_column(primary_key=True)
    open: Mapped[float]
    high: Mapped[float]
    low: Mapped[float]
    close: Mapped[float]
    volume: Mapped[float]
    turnover: Mapped[float]
    trade_count: Mapped[int]


NEWEST = select(
    NewestTradeRow.symbol,
    cast(NewestTradeRow.price, Double).label("price"),
    cast(NewestTradeRow.volume, Double).label("volume"),
    NewestTradeRow.time.label("timestamp"),
)
TRADES = select(
    TradeRow.symbol,
    cast(TradeRow.price, Double).label("price"),
    cast(TradeRow.volume, Double).label("volume"),
    TradeRow.time.label("timestamp"),
    TradeRow.trade_id,
).order_by(TradeRow.time.desc(), TradeRow.trade_id.desc())
CANDLES = select(
    CandleRow.bucket.label("timestamp"),
    *(cast(getattr(CandleRow, name), Double).label(name) for name in ("open", "high", "low", "close", "volume")),
    cast(CandleRow.turnover / func.nullif(CandleRow.volume, 0), Double).label("vwap"),
    CandleRow.trade_count,
    (CandleRow.bucket + literal(timedelta(minutes=1)) <= func.now()).label("closed"),
).order_by(CandleRow.bucket)
