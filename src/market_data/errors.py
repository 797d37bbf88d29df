"""Errors of the service:

    MarketDataError
    ├── SettingsError          invalid environment variable; ends the start
    ├── StartError             any other problem that ends the start with one line: a port in use, an unsuitable server
    ├── CommandFailed          a command can't do its work or continue: a file, a lease, the database
    ├── BadParameters          400: invalid parameters or body
    ├── Unauthorized           401: a missing or invalid API key
    ├── Forbidden              403: an API key without the required scope
    ├── NotFound               404: an unknown symbol, or one without trades
    ├── Conflict               409: contradicts stored data
    ├── Gone                   410: needs trades that have been dropped
    ├── FutureVersion          a version that there is not yet; handlers raise BadParameters for it
    ├── ContentChanged         412: a byte range of content that may have changed since the read began
    ├── TooLarge               413: a body with too many bytes or trades
    ├── UnsupportedMedia       415: a body in an unsupported format
    ├── UnsupportedCoding      415: a body with an unsupported compression
    ├── ForeignHost            421: the `Host` is not a name of the service
    ├── TooManyRequests        429: over the rate limit
    ├── Overloaded             503: too many concurrent requests
    ├── TookTooLong            503: no response within the request time-out
    ├── Stopping               503: no response before the service stopped
    └── DatabaseUnavailable    503: no connection, too many requests waiting for one, or no result in time

Each message is one or two sentences for the person who can fix the problem, and contains no secrets.
"""

from collections.abc import Sequence

from market_data.models import ParameterProblem


class MarketDataError(Exception):
    """Base of every error that this service raises on purpose."""


class SettingsError(MarketDataError):
    """Invalid setting; the message names its environment variable."""


class StartError(MarketDataError):
    """The service can't start; the message says why and what to do."""


class CommandFailed(MarketDataError):
    """A command can't do its work; the message says why, and where the same command would continue."""


class BadParameters(MarketDataError):
    """Invalid parameters of a request or fields of its body: all of them, not just the first."""

    def __init__(self, problems: Sequence[ParameterProblem], message: str | None = None) -> None:
        super().__init__(message or "; ".join(f"{problem.name}: {problem.detail}" for problem in problems))
        self.problems = list(problems)


class Unauthorized(MarketDataError):
    """Missing or invalid API key."""


class Forbidden(MarketDataError):
    """API key without the required scope."""


class NotFound(MarketDataError):
    """Unknown resource."""


class Conflict(MarketDataError):
    """Data of a request that contradicts stored data."""

    def __init__(self, message: str, problems: Sequence[ParameterProblem] = ()) -> None:
        super().__init__(message)
        self.problems = list(problems)


class Gone(MarketDataError):
    """Data that has been dropped; the message names the earliest time or version."""


class FutureVersion(MarketDataError):
    """Version that the database does not have yet; the message names the newest one."""


class ContentChanged(MarketDataError):
    """Byte range that may belong to other content than the ranges before."""


class TooLarge(MarketDataError):
    """Body over the limit of bytes or trades."""


class UnsupportedMedia(MarketDataError):
    """Body in an unsupported format."""


class UnsupportedCoding(MarketDataError):
    """Body with an unsupported `Content-Encoding`."""


class ForeignHost(MarketDataError):
    """`Host` that is not in ALLOWED_HOSTS."""


class TooManyRequests(MarketDataError):
    """Client over its rate limit."""

    def __init__(self, message: str, retry_seconds: int) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds


class Overloaded(MarketDataError):
    """Too many concurrent requests; the same request may work in a moment."""


class TookTooLong(MarketDataError):
    """No response within the request time-out."""


class Stopping(MarketDataError):
    """No response before the service stopped."""


class DatabaseUnavailable(MarketDataError):
    """The database can't be reached or is too busy; the same request may work in a moment."""


def first_line(error: BaseException | None) -> str:
    """Return the first line of an error's message: libpq's have several."""
    return str(error).strip().partition("\n")[0]
