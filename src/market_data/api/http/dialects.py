"""Dialects: foreign protocols under prefixes of their own, whose clients send keys and read errors in other forms."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from litestar.types import Scope

GivenKeys = Callable[[Scope, bool], Collection[str]]
"""Returns the API keys that a request has in a protocol's own places. The flag is True if reading needs a key."""

ErrorBody = Callable[[Exception, int, str], bytes]
"""Returns the body of an error, as JSON, from the exception, the HTTP status and the detail."""


def no_keys(scope: Scope, required: bool) -> Collection[str]:
    """Return no key: the protocol has no place of its own for one."""
    return ()


@dataclass(frozen=True)
class Dialect:
    """A protocol as the middlewares see it. `Authorization: Bearer` and `X-API-Key` work in each."""

    prefixes: Sequence[str]
    """First segments of its paths, such as `/alpaca`."""
    error_body: ErrorBody
    given_keys: GivenKeys = no_keys
    has_key_in_path: bool = False
    """True if the segment after the prefix may be an API key: for clients that have no other place for one."""


def dialect_of(scope: Any) -> Dialect | None:
    """Return the dialect of a request; None for the service's own API, and for what is not valid HTTP."""
    return scope.get("state", {}).get("dialect")
