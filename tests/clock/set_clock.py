"""Pytest plugin: set the clock before each test. See `run.py`."""

import os
import time
from datetime import datetime
from pathlib import Path

import pytest

MOMENT = datetime.fromisoformat(os.environ["TEST_CLOCK"]).timestamp()
FILE = Path(os.environ["FAKETIME_TIMESTAMP_FILE"])
SETUP_SECONDS = 57


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Prepare the test less than a minute before the moment."""
    _set_to(MOMENT - SETUP_SECONDS)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    """Start the test at the moment, unless its preparation took longer."""
    if time.time() < MOMENT:
        _set_to(MOMENT)


def _set_to(moment: float) -> None:
    real = time.time() - float(FILE.read_text())
    new = FILE.with_suffix(".new")
    new.write_text(f"{moment - real:+.3f}")
    new.chmod(0o644)
    new.rename(FILE)
