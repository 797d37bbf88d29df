"""What can go wrong, as a tree:

    MarketDataError
    ├── SettingsError          an environment variable that can't be used; ends the start
    ├── StartError             anything else that ends the start with one line: a port in use, an unfit server
    ├── CommandFailed          a command that can't do its work or go on: a file, a lease, the database
    ├── BadParameters          400: what the client sent can't be read
    ├── Unauthorized           401: no key where one is needed, or one that does not hold
    ├── Forbidden              403: a key without the scope that is needed
    ├── NotFound               404: a symbol that nobody knows, or one that has no trade yet
    ├── Conflict               409: what is stored already says otherwise
    ├── TooLarge               413: a body of more bytes, or more trades, than are taken at once
    ├── UnsupportedMedia       415: a body of another form than is read
    ├── TooManyRequests        429: more than the rate limit grants
    ├── Overloaded             503: more requests at once than can be answered soon
    ├── TookTooLong            503: no answer within the request time-out
    └── DatabaseUnavailable    503: no connection, no free place in the pool, or no answer in time

Each message is one sentence or two, fit to be shown to the person who can act on it, and carries no secret.
"""

from collections.abc import Sequence

from market_data.models import ParameterProblem


class MarketDataError(Exception):
    """The base of every error that this service raises on purpose."""


class SettingsError(MarketDataError):
    """A setting can't be used; the message names its environment variable."""


class StartError(MarketDataError):
    """The service can't start; the message says why and what to do."""


class CommandFailed(MarketDataError):
    """A command can't do its work; the message says why, and where the same command would go on."""


class BadParameters(MarketDataError):
    """Parameters of a request, or fields of its body, can't be used: all that are at fault, not just the first."""

    def __init__(self, problems: Sequence[ParameterProblem], message: str | None = None) -> None:
        super().__init__(message or "; ".join(f"{problem.name}: {problem.detail}" for problem in problems))
        self.problems = list(problems)


class Unauthorized(MarketDataError):
    """A key is needed, or the one that was given does not hold."""


class Forbidden(MarketDataError):
    """The key has not the scope that is needed."""


class NotFound(MarketDataError):
    """What was asked for does not exist."""


class Conflict(MarketDataError):
    """What a request wants to store contradicts what is stored."""

    def __init__(self, message: str, problems: Sequence[ParameterProblem] = ()) -> None:
        super().__init__(message)
        self.problems = list(problems)


class TooLarge(MarketDataError):
    """A body is larger than what is taken at once."""


class UnsupportedMedia(MarketDataError):
    """A body has a form that is not read here."""


class TooManyRequests(MarketDataError):
    """A client has used its rate limit up."""

    def __init__(self, message: str, retry_seconds: int) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds


class Overloaded(MarketDataError):
    """There are more requests than can be answered soon; the same one may work in a moment."""


class TookTooLong(MarketDataError):
    """What a request asks for could not be had within the request time-out."""


class DatabaseUnavailable(MarketDataError):
    """The database can't answer now; the same request may work in a moment."""


def first_line(error: BaseException | None) -> str:
    """What an error of a library says, for a log or a terminal: libpq's go on for several lines."""
    return str(error).strip().partition("\n")[0]
