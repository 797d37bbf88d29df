"""Adjusted prices and candles computed in Python from trades and corporate actions, to compare with those of the service."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any
from zoneinfo import ZoneInfo

from helpers.support import Connection, Trade

EXACT = Context(prec=300, rounding=ROUND_HALF_UP)
KINDS = {
    "raw": (),
    "split": ("split", "stock_dividend"),
    "dividend": ("cash_dividend",),
    "all": ("split", "stock_dividend", "cash_dividend", "spin_off"),
}

ADD_ACTION = """
    INSERT INTO corporate_actions (symbol, id, type, ex_date, numerator, denominator, amount)
    VALUES (%(symbol)s, %(id)s, %(type)s, %(ex_date)s, %(numerator)s, %(denominator)s, %(amount)s)
"""


def rounded(value: Decimal, decimals: int = 12) -> Decimal:
    return value.quantize(Decimal(1).scaleb(-decimals), context=EXACT)


@dataclass(frozen=True)
class Action:
    """A corporate action with a ratio (shares after it, shares before it) or an amount."""

    type: str
    ex_date: date
    ratio: tuple[str, str] | None = None
    amount: str | None = None
    symbol: str = "AAPL"

    @property
    def id(self) -> str:
        return f"{self.type}-{self.ex_date}"

    def add(self, connection: Connection) -> None:
        numerator, denominator = self.ratio or (None, None)
        values: dict[str, Any] = {"symbol": self.symbol, "id": self.id, "type": self.type, "ex_date": self.ex_date}
        connection.execute(ADD_ACTION, {**values, "numerator": numerator, "denominator": denominator, "amount": self.amount})

    def effect(self, zone: str) -> datetime:
        return datetime.combine(self.ex_date, time(), ZoneInfo(zone)).astimezone(UTC)


CloseBefore = Callable[[Sequence[Trade], Action], Decimal | None]


def last_trade(zone: str = "UTC") -> CloseBefore:
    """Return a function that returns the price of the last trade before an action takes effect."""

    def close(trades: Sequence[Trade], action: Action) -> Decimal | None:
        before = [each for each in trades if each[0] < action.effect(zone)]
        return max(before, key=lambda each: (each[0], each[2]))[3] if before else None

    return close


def factors(
    trades: Sequence[Trade], actions: Iterable[Action], adjustment: str, zone: str = "UTC", close: CloseBefore | None = None
) -> list[tuple[datetime, Decimal, Decimal]]:
    """Return times, newest first, before which each of the factors of price and volume applies."""
    close = close or last_trade(zone)
    price = volume = Decimal(1)
    found = list[tuple[datetime, Decimal, Decimal]]()
    chosen = [action for action in actions if action.type in KINDS[adjustment]]
    for action in sorted(chosen, key=lambda each: (-each.ex_date.toordinal(), each.id)):
        if action.ratio:
            after, before = map(Decimal, action.ratio)
            price = rounded(EXACT.multiply(price, rounded(EXACT.divide(before, after), 30)), 30)
            if action.type != "spin_off":
                volume = rounded(EXACT.multiply(volume, rounded(EXACT.divide(after, before), 30)), 30)
        else:
            amount, last = Decimal(action.amount or 0), close(trades, action)
            if last is None or amount >= last:
                continue
            price = rounded(EXACT.multiply(price, rounded(EXACT.divide(last - amount, last), 30)), 30)
        found.append((action.effect(zone), price, volume))
    return found


def adjusted(
    trades: Sequence[Trade], actions: Iterable[Action], adjustment: str, zone: str = "UTC", close: CloseBefore | None = None
) -> list[Trade]:
    """Return the trades with exact adjusted prices and volumes."""
    steps = factors(trades, actions, adjustment, zone, close)

    def adjust(trade: Trade) -> Trade:
        moment, symbol, number, price, volume = trade
        applied = [step for step in steps if moment < step[0]]
        if not applied:
            return trade
        _, price_factor, volume_factor = applied[-1]
        return moment, symbol, number, EXACT.multiply(price, price_factor), EXACT.multiply(volume, volume_factor)

    return [adjust(trade) for trade in trades]


def candles(trades: Iterable[Trade], bucket_of: Callable[[datetime], datetime]) -> dict[datetime, dict[str, Any]]:
    """Return candles by bucket: figures rounded as those of the service, and the vwap."""
    groups: dict[datetime, list[Trade]] = {}
    for each in sorted(trades, key=lambda each: (each[0], each[2])):
        groups.setdefault(bucket_of(each[0]), []).append(each)
    return {bucket: _candle(group) for bucket, group in groups.items()}


def _candle(group: Sequence[Trade]) -> dict[str, Any]:
    prices, volume, turnover = [each[3] for each in group], Decimal(0), Decimal(0)
    for each in group:
        volume = EXACT.add(volume, each[4])
        turnover = EXACT.add(turnover, EXACT.multiply(each[3], each[4]))
    exact = {"open": prices[0], "high": max(prices), "low": min(prices), "close": prices[-1], "volume": volume}
    figures: dict[str, Any] = {name: rounded(value) for name, value in (*exact.items(), ("turnover", turnover))}
    return {**figures, "vwap": float(EXACT.divide(turnover, volume)) if volume else None, "trade_count": len(group)}


NEW_YORK = "America/New_York"
ADD_CALENDAR = """
    INSERT INTO calendars (code, name, time_zone, source) VALUES ('XNYS', 'New York', 'America/New_York', 'own')
    ON CONFLICT DO NOTHING
"""
ADD_SESSIONS = """
    INSERT INTO calendar_sessions (
        calendar, day, opens_at, closes_at, pre_opens_at, post_closes_at, auction_ends_at, write_id
    )
    SELECT
        'XNYS', day, (day + TIME '09:30') AT TIME ZONE zone, (day + TIME '16:00') AT TIME ZONE zone,
        (day + TIME '04:00') AT TIME ZONE zone, (day + TIME '20:00') AT TIME ZONE zone,
        (day + TIME '16:00') AT TIME ZONE zone + %(auction)s::interval, reference_write()
    FROM generate_series(%(first)s::timestamp, %(last)s::timestamp, INTERVAL '1 day') AS day
    CROSS JOIN (VALUES ('America/New_York')) AS calendar (zone)
    WHERE extract(isodow FROM day) < 6
    ON CONFLICT DO NOTHING
"""


def add_sessions(connection: Connection, symbol: str, first: date, last: date, auction: str = "0 minutes") -> None:
    """Let a symbol have the calendar XNYS with a session on each weekday of a range."""
    with connection.transaction():
        connection.execute(ADD_CALENDAR)
        connection.execute("DELETE FROM calendar_sessions WHERE calendar = 'XNYS'")
        connection.execute(ADD_SESSIONS, {"first": first, "last": last, "auction": auction})
        connection.execute(
            """
            INSERT INTO symbols (symbol, name, calendar) VALUES (%s, 'listed in New York', 'XNYS')
            ON CONFLICT (symbol) DO UPDATE SET calendar = 'XNYS'
            """,
            (symbol,),
        )


def session_close(auction_minutes: int = 0) -> CloseBefore:
    """Return a function that returns the close of the last regular session of XNYS before the ex-date that has a trade."""

    def close(trades: Sequence[Trade], action: Action) -> Decimal | None:
        def is_regular(moment: datetime) -> bool:
            local = moment.astimezone(ZoneInfo(NEW_YORK))
            minute = local.hour * 60 + local.minute
            return local.weekday() < 5 and 570 <= minute < 960 + auction_minutes and local.date() < action.ex_date

        before = [each for each in trades if is_regular(each[0])]
        return max(before, key=lambda each: (each[0], each[2]))[3] if before else None

    return close


def at(day: str, price: str, volume: str = "1", symbol: str = "AAPL", hour: int = 20) -> Trade:
    """Return a trade at an hour of a day, UTC."""
    return datetime.fromisoformat(day).replace(hour=hour, tzinfo=UTC), symbol, 0, Decimal(price), Decimal(volume)


def split(ex_date: str, after: str, before: str = "1", symbol: str = "AAPL") -> Action:
    return Action("split", date.fromisoformat(ex_date), (after, before), symbol=symbol)


def dividend(ex_date: str, amount: str, symbol: str = "AAPL") -> Action:
    return Action("cash_dividend", date.fromisoformat(ex_date), amount=amount, symbol=symbol)


def random_trades(seed: int, first: datetime, until: datetime, count: int) -> list[Trade]:
    draw = random.Random(seed)
    times = sorted(first + draw.random() * (until - first) for _ in range(count))
    return [
        (time, "AAPL", number, Decimal(draw.randrange(9_000, 11_000)) / 100, Decimal(draw.randrange(0, 400)) / 8)
        for number, time in enumerate(times)
    ]


FIRST, UNTIL = datetime(2024, 2, 26, tzinfo=UTC), datetime(2024, 3, 20, tzinfo=UTC)
ACTIONS = [
    dividend("2024-03-01", "1.37"),
    split("2024-03-05", "3", "2"),
    dividend("2024-03-05", "0.5"),
    Action("stock_dividend", date(2024, 3, 11), ("1.05", "1")),
    Action("spin_off", date(2024, 3, 12), amount="7.77"),
    dividend("2024-03-14", "0.123456789"),
    split("2024-03-15", "1", "7"),
]
