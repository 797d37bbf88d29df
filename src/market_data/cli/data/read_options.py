"""Options that describe the file to import, and the columns that they select."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple
from zoneinfo import ZoneInfo

from market_data.cli.data.presets import PRESETS
from market_data.errors import CommandFailed

COLUMNS: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "symbol": (("symbol",), ("ticker", "instrument", "pair")),
    "timestamp": (("timestamp", "time"), ("date+time", "datetime")),
    "price": (("price",), ()),
    "volume": (("volume",), ("size", "qty", "quantity", "amount")),
    "trade_id": (("trade_id",), ("id",)),
}
"""Names of each column that need no option. Of the second ones, one counts only if the file has none of the first ones."""

BARS = ({"open", "high", "low", "close"}, {"otwarcie", "najwyzszy", "najnizszy", "zamkniecie"})
"""Names of columns of bars; the second ones are Stooq's in Polish."""
QUOTES = tuple({f"bid{end}", f"ask{end}"} for end in ("", "price", "_price", " price", "_px_00", "_px"))

NOT_TRADES = {
    "bars": "contains bars (open, high, low, close), not trades; only trades can be imported, and candles come from them.",
    "quotes": "contains quotes (bid and ask), not trades; only trades can be imported.",
}


class ReadOptions(NamedTuple):
    """Description of a file. Options of the command take precedence over the preset."""

    preset: str | None = None
    columns: Mapping[str, str] = {}
    """Name in the file by column; `a+b` joins two columns."""
    symbol: str | None = None
    """Symbol of all rows, instead of a column."""
    time_format: str | None = None
    timezone: ZoneInfo | None = None
    """Time zone of times without one."""
    decimal: str | None = None
    """`.` or `,`."""

    def alternatives(self, column: str) -> Iterator[Sequence[str]]:
        """Return names of a column in order of preference. Of several names in one step, a file must have only one."""
        if column in self.columns:
            yield (self.columns[column],)
        elif self.preset:
            yield from ((name,) for name in PRESETS[self.preset].columns.get(column, "").split())
        else:
            yield from COLUMNS[column]

    def needs(self, column: str) -> bool:
        """Return if a file without this column can't be imported."""
        return column != "trade_id" and not (column == "symbol" and self.symbol)

    @property
    def only(self) -> Mapping[str, Sequence[str]]:
        """Values that columns besides ours must have."""
        return PRESETS[self.preset].only if self.preset else {}


def normalized(name: str) -> str:
    """Return the name of a column in lower case, without the brackets of `<PRICE>`."""
    return name.strip().strip("<>").lower()


def find_columns(names: Sequence[str], options: ReadOptions, file: str) -> dict[str, tuple[int, ...]]:
    """Return the positions of each of our columns: one, two that are joined, or none.

    Raises:
        CommandFailed: A column is missing or ambiguous, or the file has no trades.
    """
    positions = {column: _find(column, names, options, file) for column in COLUMNS}
    missing = next((column for column, at in positions.items() if not at and options.needs(column)), None)
    kind = kind_of_columns(names)
    samples_prices = kind == "quotes" and options.only and not any(name in names for name in options.only)
    if missing is None and not samples_prices:
        return positions
    if kind:
        raise CommandFailed(f"{file} {NOT_TRADES[kind]}")
    missing = missing or "price"
    wanted = f" ({options.columns[missing]})" if missing in options.columns else ""
    shown = ", ".join(names)[:200] or "none"
    raise CommandFailed(f"{file} has no column {missing}{wanted}; it has {shown}. {_remedy(missing, names, options)}")


def _find(column: str, names: Sequence[str], options: ReadOptions, file: str) -> tuple[int, ...]:
    if column == "symbol" and options.symbol:
        return ()
    for alternatives in options.alternatives(column):
        parts = [_parts(name) for name in alternatives]
        found = [part for part in parts if all(name in names for name in part)]
        found_names = [name for part in found for name in part]
        if len(found) > 1 or any(names.count(name) > 1 for name in found_names):
            raise CommandFailed(
                f"{file} has the column {column} twice: {', '.join(found_names)}. Choose one with --column {column}=NAME."
            )
        if found:
            return tuple(names.index(name) for name in found[0])
    return ()


def _parts(name: str) -> Sequence[str]:
    return [normalized(part) for part in name.split("+")]


def _remedy(missing: str, names: Sequence[str], options: ReadOptions) -> str:
    if options.preset is None:
        for preset in PRESETS:
            guess = ReadOptions(preset, symbol="?")
            if all(_find(column, names, guess, "") for column in COLUMNS if guess.needs(column)):
                return f"The columns are those of --preset {preset}."
    return "Set it with --symbol SYMBOL." if missing == "symbol" else f"Name it with --column {missing}=NAME."


def kind_of_columns(names: Sequence[str]) -> str | None:
    """Return `bars` or `quotes` for names that show such data."""
    found = set(names)
    if any(bars <= found for bars in BARS):
        return "bars"
    return "quotes" if any(quotes <= found for quotes in QUOTES) else None


def kind_of_rows(rows: Sequence[Sequence[str]]) -> str | None:
    """Return `bars` or `quotes` if the numbers in rows without a header are in the order of such data."""
    numbers = [[_number(field) for field in fields] for fields in rows]
    width = min(map(len, numbers), default=0)
    if any(all(_is_bar(row[at : at + 4]) for row in numbers) for at in range(width - 3)):
        return "bars"
    close = [at for at in range(width - 1) if all(_are_close(row[at : at + 2]) for row in numbers)]
    return "quotes" if len(close) == 1 and len(rows) > 1 else None  # of three, one is the price of a trade


def _is_bar(numbers: Sequence[float]) -> bool:
    first, high, low, last = numbers
    return 0 < low <= min(first, last) and max(first, last) <= high < 2 * low


def _are_close(numbers: Sequence[float]) -> bool:
    return 0 < max(numbers) < 1.01 * min(numbers)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
