"""PostgreSQL's own programs: found in a version that fits the server, and run without a password on the command line."""

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from market_data.cli.operate.psql import environment
from market_data.errors import CommandFailed

Tool = Literal["pg_dump", "pg_restore"]

PLACES = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/libpq/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/libpq/bin",
    "/usr/local/opt/postgresql@*/bin",
)
"""Where distributions put them, several versions side by side."""

VERSION = re.compile(rb"\(PostgreSQL\) (\d+)")


def find_tool(name: Tool, server: int, places: Sequence[str] = PLACES) -> Path:
    """The program in the server's version or a newer one: from PG_BIN, on the PATH, or where distributions put it.

    Raises:
        CommandFailed: There is none; the message says what to install.
    """
    versions = {path: version for path in _candidates(name, places) if (version := _version(path))}
    for path, version in versions.items():
        if version >= server:
            return path
    get = (
        f"install version {server} or newer (`apt-get install postgresql-client-{server}` from apt.postgresql.org, "
        f"`dnf install postgresql{server}`, `brew install postgresql@{server}`), or name its folder in PG_BIN"
    )
    if versions:
        raise CommandFailed(f"{name} is of version {max(versions.values())}, too old for the server's {server}: {get}.")
    raise CommandFailed(f"{name} is not installed: {get}.")


def _candidates(name: Tool, places: Sequence[str]) -> Iterator[Path]:
    folders = [os.environ.get("PG_BIN", ""), *os.environ.get("PATH", "").split(os.pathsep)]
    found = [Path(folder) for folder in folders if folder]
    for pattern in places:
        found += sorted(Path("/").glob(pattern.removeprefix("/")))
    return (folder / name for folder in found if os.access(folder / name, os.X_OK))


def _version(program: Path) -> int | None:
    with suppress(OSError):
        told = subprocess.run([program, "--version"], capture_output=True, check=False).stdout  # noqa: S603 - a tool of ours
        if form := VERSION.search(told):
            return int(form[1])
    return None


def run_tool(program: Path, arguments: Sequence[str | Path], database_url: str) -> str:
    """Run it on a database; what it prints.

    Raises:
        CommandFailed: It failed; the message has its last words.
    """
    variables = environment(database_url) | {"PGAPPNAME": f"market-data {program.name}", "LC_ALL": "C"}
    with subprocess.Popen(  # noqa: S603 - as above
        [program, "--no-password", *arguments],
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        try:
            printed, complaints = process.communicate()
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise CommandFailed(f"{program.name} failed: {_reason(complaints) or f'status {process.returncode}'}")
    return printed


def _reason(complaints: str) -> str:
    """Its errors without the hints: of pg_restore the statement at fault, which may be long, comes after the reason."""
    errors = [line.partition("error: ")[2] for line in complaints.splitlines() if "error: " in line]
    return " ".join(errors)
