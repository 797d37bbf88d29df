"""The transparency log of a test: its writer, and tools of other people that verify it."""

import asyncio
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from helpers.service import eventually

from market_data.queries.log_appends import LostLeaseError
from market_data.settings import Settings
from market_data.transparency.writer import LogWriter

VERSION = "3.12"
"""Version of Python that the packages `aics-…` need."""


class Log:
    """The log of a database, which a test writes."""

    def __init__(self, url: str, folder: Path, **settings: Any) -> None:
        self.settings = Settings(database_url=url, log_key_file=str(folder / "log-key.pem"), **settings)
        self.writer = LogWriter(url, self.settings)

    def write(self, *, candles: bool = False) -> None:
        """Add all commits, and perhaps the candles that have changed."""

        def write() -> bool:
            try:
                asyncio.run(self.writer.write(candles=candles))
            except LostLeaseError:  # a service that has no key looks for one
                return False
            return True

        eventually(write)


def foreign_tool(package: str, *arguments: object) -> list[str]:
    """Return a command that runs the program of a package with an interpreter that it supports; skip without one."""
    uv = shutil.which("uv")
    pythons = [*Path("~/.pyenv/versions").expanduser().glob(f"{VERSION}.*/bin/python"), VERSION]
    command = [str(uv), "run", "--isolated", "--no-project", "--python", str(pythons[0]), "--with", package, package]
    if not uv or subprocess.run([*command, "--help"], capture_output=True, check=False).returncode:
        pytest.skip(f"needs uv, Python {VERSION} and the package {package}")
    return [*command, *map(str, arguments)]
