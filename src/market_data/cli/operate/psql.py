"""psql on the database of the service."""

import os
import shutil
import signal
import subprocess
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager

from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from market_data import embedded
from market_data.cli.console import progress
from market_data.embedded.home import Home
from market_data.errors import CommandFailed
from market_data.settings import Settings

MISSING = (
    "psql is not installed; get it with `apt-get install postgresql-client`, `dnf install postgresql` "
    "or `brew install libpq && brew link --force libpq`."
)


def psql(settings: Settings, arguments: Sequence[str]) -> int:
    """Become psql, or, where no engine runs, run one with psql on it; then psql's exit status.

    Raises:
        CommandFailed: There is no psql, or no embedded database yet.
    """
    program = shutil.which("psql")
    if program is None:
        raise CommandFailed(MISSING)
    home = Home(settings.home)
    if database_url := settings.direct_url or home.reachable():
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, which a new program would inherit
        os.execve(program, ["psql", *arguments], environment(database_url))  # noqa: S606 - no shell is what we want
    if not home.data.exists():
        raise CommandFailed(f"There is no database in {home.path} yet; `market-data serve` makes one.")
    with (
        embedded.attached_engine(settings.home, say=progress) as address,
        _left_to_child(signal.SIGINT, signal.SIGQUIT),
        subprocess.Popen([program, *arguments], env=environment(address)) as process,  # noqa: S603 - what the user typed
    ):
        try:
            return process.wait()
        finally:
            process.terminate()  # where a signal to us has ended the wait


def environment(database_url: str, inherited: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment with what makes psql connect there: on its command line everybody could read a password.

    So options such as `-U analyst` still have the last word. A service file would have it too, and is left out.
    """
    given = {name: str(value) for name, value in conninfo_to_dict(database_url).items()}
    variables = {option.keyword.decode(): option.envvar.decode() for option in pq.Conninfo.get_defaults() if option.envvar}
    base = {name: value for name, value in (inherited or os.environ).items() if name != "PGSERVICE"}
    told = {variables[name]: value for name, value in given.items() if name in variables}
    return {**base, **told, "PGAPPNAME": "market-data psql"}


@contextmanager
def _left_to_child(*numbers: signal.Signals) -> Generator[None]:
    """Signals that the terminal sends to us and to the child do nothing here: there, Ctrl-C cancels a query.

    Not SIG_IGN, which the child would inherit.
    """
    before = {number: signal.signal(number, lambda _number, _frame: None) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
