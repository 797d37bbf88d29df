"""Commands of `/ws` clients, read field by field, so that an error names each wrong field and the remedy."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, Literal, get_args

import msgspec
from msgspec import Raw, Struct

from market_data.api.http.decoding import decode_object, decode_string, explain_malformed
from market_data.api.http.parameter_types import (
    read_channels,
    read_choice,
    read_event_id,
    read_speed,
    read_symbols,
    read_time_bound,
)
from market_data.errors import BadParameters
from market_data.models import ParameterProblem
from market_data.queries.candles import SessionKind
from market_data.streaming.events import EventId
from market_data.streaming.subscriptions import Subscription
from market_data.trade_validation import shown

Action = Literal["subscribe", "unsubscribe", "authenticate", "pause", "resume", "step", "seek", "speed"]
ACTIONS: Final[tuple[Action, ...]] = get_args(Action)

REPLAY_ACTIONS: Final = frozenset[Action]({"pause", "resume", "step", "seek", "speed"})

MAX_NAMED_FIELDS: Final = 5
"""Unknown fields that an error names."""


class Command(Struct, frozen=True, kw_only=True):
    """A message from a client."""

    action: Action
    symbols: frozenset[str] | None = None
    """None for all symbols."""
    channels: tuple[str, ...] = ("trades",)
    last_event_id: EventId | None = None
    """Id after which missed events are sent first."""
    key: str = ""
    time: datetime | None = None
    """Time that a replay seeks."""
    speed: float = 1.0
    session: SessionKind = "all"
    """Sessions to which the connection is limited."""

    @property
    def subscription(self) -> Subscription:
        """Subscription that the command adds or removes."""
        return Subscription.to(self.channels, self.symbols, self.session)


def read_command(text: str) -> Command:
    """Return the command in a message.

    Raises:
        BadParameters: The message is no command, or fields are unknown, missing or wrong.
    """
    fields = _fields(text)
    if "action" not in fields:
        raise BadParameters([ParameterProblem("action", f"is missing; give one of {', '.join(ACTIONS)}")])
    try:
        action = read_choice(_text(fields.pop("action"), "subscribe"), ACTIONS)
    except ValueError as error:
        raise BadParameters([ParameterProblem("action", str(error))]) from None
    readers = FIELDS[action]
    detail = f"is not a field of {action}, which has {', '.join(['action', *readers])}"
    unknown = [name for name in fields if name not in readers][:MAX_NAMED_FIELDS]
    problems = [ParameterProblem(shown(name)[1:-1], detail) for name in unknown]
    values: dict[str, Any] = {}
    for name, read in readers.items():
        try:
            if name in fields:
                values[name] = read(fields[name])
            elif name in REQUIRED:
                raise ValueError(f"is missing; {REQUIRED[name]}")
        except ValueError as error:
            problems.append(ParameterProblem(name, str(error)))
    if problems:
        raise BadParameters(problems)
    return Command(action=action, **values)


def _fields(text: str) -> dict[str, Raw]:
    try:
        return decode_object(text)
    except msgspec.ValidationError:
        detail = 'must be an object such as {"action": "subscribe", "symbols": ["AAPL"]}'
    except (ValueError, RecursionError) as error:
        detail = explain_malformed(text.encode(), error).detail
    raise BadParameters([ParameterProblem("message", detail)])


def _text(raw: Raw, example: str) -> str:
    try:
        return decode_string(raw)
    except msgspec.DecodeError:
        raise ValueError(f'must be a string such as "{example}"') from None


def _list(raw: Raw, example: str) -> str:
    """Return the strings of a list, between commas."""
    try:
        texts = decode_strings(raw)
    except msgspec.DecodeError:
        raise ValueError(f'must be a list of strings such as ["{example}"]') from None
    if not texts:
        raise ValueError(f'is empty; give at least one, such as ["{example}"]')
    return ",".join(texts)


def _read_symbols(raw: Raw) -> frozenset[str] | None:
    return None if bytes(raw) == b"null" else frozenset(read_symbols(_list(raw, "AAPL")))


def _read_channels(raw: Raw) -> tuple[str, ...]:
    return read_channels(_list(raw, "trades"))


def _read_event_id(raw: Raw) -> EventId | None:
    return None if bytes(raw) == b"null" else read_event_id(_text(raw, "412-1-0"))


def _read_key(raw: Raw) -> str:
    return _text(raw, "md_…")


def _read_time(raw: Raw) -> datetime:
    return read_time_bound(_text(raw, "2026-02-08T10:30:00Z")).time


def _read_speed(raw: Raw) -> float:
    return read_speed(bytes(raw).decode().strip().strip('"'))


decode_strings = msgspec.json.Decoder(list[str]).decode

Readers = Mapping[str, Callable[[Raw], Any]]
LISTS: Final[Readers] = {"symbols": _read_symbols, "channels": _read_channels}
FIELDS: Final[Mapping[Action, Readers]] = {
    "subscribe": {**LISTS, "last_event_id": _read_event_id},
    "unsubscribe": LISTS,
    "authenticate": {"key": _read_key},
    "pause": {},
    "resume": {},
    "step": {},
    "seek": {"time": _read_time},
    "speed": {"speed": _read_speed},
}
"""Readers of the fields of each action. They raise ValueError with the remedy."""

REQUIRED: Final = {
    "key": "`market-data keys create NAME` creates one",
    "time": "give the time to continue at, such as 2026-02-08T10:30:00Z",
    "speed": "give a number above 0, such as 1, 10 or 60, or max",
}
"""Fields that their actions need, with the remedy."""
