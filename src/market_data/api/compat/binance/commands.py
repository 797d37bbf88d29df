"""Commands of the clients of streams."""

from collections.abc import Sequence
from typing import Any, Final, cast

import msgspec
from msgspec import Struct

from market_data.errors import MarketDataError
from market_data.trade_validation import shown

METHODS: Final = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
NAMING: Final = METHODS[:2]

UNKNOWN_PROPERTY: Final = 0
INVALID_TYPE: Final = 1
INVALID_REQUEST: Final = 2
INVALID_JSON: Final = 3

MAX_ID: Final = 2**64 - 1
MAX_ID_LENGTH: Final = 36

RequestId = int | str | None


class CommandError(MarketDataError):
    """A command can't be executed."""

    def __init__(self, message: str, code: int = INVALID_REQUEST, request_id: RequestId = None) -> None:
        super().__init__(message)
        self.code = code
        self.request_id = request_id


class Command(Struct, frozen=True):
    """A command."""

    method: str
    params: Sequence[object]
    id: RequestId

    @property
    def names(self) -> list[str]:
        """Names of streams.

        Raises:
            CommandError: A parameter is no text.
        """
        if not all(isinstance(each, str) for each in self.params):
            raise CommandError("Invalid request: the parameters must be names of streams.")
        return cast("list[str]", list(self.params))

    def read_combined(self) -> bool:
        """Return the value for the property `combined`.

        Raises:
            CommandError: It is not true or false.
        """
        if len(self.params) != 2 or not isinstance(self.params[1], bool):
            raise CommandError("Invalid value type: expected Boolean.", INVALID_TYPE)
        return self.params[1]


def read_command(message: str | bytes) -> Command:
    """Return the command of a message.

    Raises:
        CommandError: It is none.
    """
    try:
        given: Any = msgspec.json.decode(message)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise CommandError(f"Invalid JSON: {error}", INVALID_JSON) from None
    if not isinstance(given, dict):
        raise CommandError("Invalid request: it must be an object.")
    members = cast("dict[str, object]", given)
    request_id = members.get("id")
    if not _is_id(request_id):
        raise CommandError("Invalid request: request ID must be an unsigned integer.")
    number = cast("RequestId", request_id)
    method, params = members.get("method"), members.get("params")
    if not isinstance(method, str):
        raise CommandError("Invalid request: missing field `method`.", request_id=number)
    if method not in METHODS:
        detail = f"Invalid request: unknown variant {shown(method)}, expected one of {', '.join(METHODS)}."
        raise CommandError(detail, request_id=number)
    if params is None and method not in NAMING:
        params = []
    if not isinstance(params, list):
        raise CommandError("Invalid request: `params` must be an array.", request_id=number)
    command = Command(method, cast("list[object]", params), number)
    if method.endswith("PROPERTY") and command.params[:1] != ["combined"]:
        raise CommandError("Unknown property.", UNKNOWN_PROPERTY, number)
    return command


def _is_id(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_ID_LENGTH
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_ID)
