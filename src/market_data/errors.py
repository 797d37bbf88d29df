"""What can go wrong, as a tree:

    MarketDataError
    ├── SettingsError          an environment variable that can't be used; ends the start
    ├── StartError             anything else that ends the start with one line: a port in use, an unfit server
    ├── CommandFailed          a command that can't do its work or go on: a file, a lease, the database
    ├── BadParameters          400: what the client sent can't be read
    ├── NotFound               404: a symbol that nobody knows, or one that has no trade yet
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
    """Parameters of a request can't be used: all that are at fault, not just the first."""

    def __init__(self, problems: Sequence[ParameterProblem]) -> None:
        super().__init__("; ".join(f"{problem.name}: {problem.detail}" for problem in problems))
        self.problems = list(problems)


class NotFound(MarketDataError):
    """What was asked for does not exist."""


class DatabaseUnavailable(MarketDataError):
    """The database can't answer now; the same request may work in a moment."""


def first_line(error: BaseException | None) -> str:
    """What an error of a library says, for a log or a terminal: libpq's go on for several lines."""
    return str(error).strip().partition("\n")[0]
