"""The fields of small bodies: all that is wrong with them is told at once, as with query parameters."""

from collections.abc import Callable, Mapping
from typing import TypeVar, cast

from msgspec import Raw

from market_data.api.http.bodies import text_of
from market_data.errors import BadParameters
from market_data.models import ParameterProblem
from market_data.queries.trade_changes import TradeIdentity
from market_data.trade_validation import InvalidTrade, read_price, read_symbol, read_time, read_trade_id, read_volume

T = TypeVar("T")

LONGEST_REASON = 500
LONGEST_NAME = 200


class Fields:
    """The fields of a body. One that is wrong is noted; what stands for it is never used, for then `end` raises."""

    def __init__(self, fields: Mapping[str, Raw]) -> None:
        self._fields = fields
        self._problems: list[ParameterProblem] = []

    def has(self, name: str) -> bool:
        """Whether a field was given, whatever it is worth."""
        return name in self._fields

    def refuse(self, name: str, detail: str) -> None:
        """Note that a field is wrong."""
        self._problems.append(ParameterProblem(name, detail))

    def end(self) -> None:
        """Raise BadParameters with all that was found wrong."""
        if self._problems:
            raise BadParameters(self._problems)

    def symbol(self) -> str:
        """The symbol, in upper case."""
        return self._take("symbol", read_symbol)

    def identity(self) -> TradeIdentity:
        """Which trade the body is about."""
        symbol = self.symbol()
        time = self._take("timestamp", lambda text: read_time(text)[1])
        return TradeIdentity(symbol, time, self._take("trade_id", read_trade_id) if self.has("trade_id") else 0)

    def values(self) -> tuple[str | None, str | None]:
        """A price, a volume, or both."""
        if not self.has("price") and not self.has("volume"):
            self.refuse("price", "is missing, and so is volume; give one of them, or both")
        price = self._take("price", read_price) if self.has("price") else None
        volume = self._take("volume", read_volume) if self.has("volume") else None
        return price, volume

    def reason(self) -> str:
        """Why something is asked for."""
        return self._printable("reason", LONGEST_REASON)

    def name(self) -> str:
        """What a symbol stands for."""
        return self._printable("name", LONGEST_NAME)

    def active(self) -> bool:
        """Whether a symbol is to be active."""
        return self._take("active", "true".__eq__)

    def _printable(self, name: str, longest: int) -> str:
        def read(text: str) -> str:
            if not text.strip() or len(text) > longest or not text.isprintable():
                raise InvalidTrade(name, f"must be 1 to {longest} printable characters, not all of them spaces")
            return text

        return self._take(name, read)

    def _take(self, name: str, read: Callable[[str], T]) -> T:
        try:
            text = text_of(self._fields, name)
            if text is not None:
                return read(text)
            self.refuse(name, "is missing")
        except InvalidTrade as reason:
            self.refuse(name, reason.detail)
        return cast(T, None)
