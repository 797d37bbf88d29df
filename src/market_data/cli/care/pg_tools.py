"""Find pg_dump and pg_restore in a version that fits the server, and run them without a password on the command line."""

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from market_data.cli.operate.psql import connection_environment
from market_data.errors import CommandFailed

Tool = Literal["pg_dump", "pg_restore"]

INSTALL_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/libpq/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/libpq/bin",
    "/usr/local/opt/postgresql@*/bin",
)
"""Folders of distributions, which may have several versions."""

VERSION = re.compile(rb"\(PostgreSQL\) (\d+)")


def find_tool(name: Tool, server: int, folders: Sequence[str] = INSTALL_FOLDERS) -> Path:
    """Return the program in the major version of the server or newer, from PG_BIN, the PATH or an install folder.

    Raises:
        CommandFailed: There is none; the message says what to install.
    """
    versions = {path: version for path in _candidates(name, folders) if (version := _version(path))}
    for path, version in versions.items():
        if version >= server:
            return path
    remedy = (
        f"install version {server} or newer (`apt-get install postgresql-client-{server}` from apt.postgresql.org, "
        f"`dnf install postgresql{server}`, `brew install postgresql@{server}`), or set PG_BIN to its folder"
    )
    if versions:
        raise CommandFailed(
            f"{name} has version {max(versions.values())}, which is older than the server's version {server}: {remedy}."
        )
    raise CommandFailed(f"{name} is not installed: {remedy}.")


def _candidates(name: Tool, patterns: Sequence[str]) -> Iterator[Path]:
    folders = [os.environ.get("PG_BIN", ""), *os.environ.get("PATH", "").split(os.pathsep)]
    found = [Path(folder) for folder in folders if folder]
    for pattern in patterns:
        found += sorted(Path("/").glob(pattern.removeprefix("/")))
    return (folder / name for folder in found if os.access(folder / name, os.X_OK))


def _version(program: Path) -> int | None:
    with suppress(OSError):
        printed = subprocess.run([program, "--version"], capture_output=True, check=False).stdout  # noqa: S603 - found above
        if match := VERSION.search(printed):
            return int(match[1])
    return None


def run_tool(program: Path, arguments: Sequence[str | Path], database_url: str) -> str:
    """Run a program on a database. Returns its output.

    Raises:
        CommandFailed: The program failed; the message has its errors.
    """
    variables = connection_environment(database_url) | {"PGAPPNAME": f"market-data {program.name}", "LC_ALL": "C"}
    with subprocess.Popen(  # noqa: S603 - found by find_tool
        [program, "--no-password", *arguments],
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        try:
            printed, errors = process.communicate()
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise CommandFailed(f"{program.name} failed: {_reason(errors) or f'status {process.returncode}'}")
    return printed


def _reason(errors: str) -> str:
    """Return the error lines, without the hints and without the statement that pg_restore prints, which may be long."""
    return " ".join(line.partition("error: ")[2] for line in errors.splitlines() if "error: " in line)
