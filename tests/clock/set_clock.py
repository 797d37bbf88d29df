"""Pytest plugin: set the clock before each test. See `run.py`."""

import os
import time
from datetime import datetime
from pathlib import Path

import pytest

MOMENT = datetime.fromisoformat(os.environ["TEST_CLOCK"]).timestamp()
FILE = Path(os.environ["FAKETIME_TIMESTAMP_FILE"])
SETUP_SECONDS = 57
CACHE_SECONDS = 1.1
"""Time after which libfaketime reads the file again, and a little more."""


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
    FILE.write_text(f"{moment - real - CACHE_SECONDS:+.3f}")
    time.sleep(CACHE_SECONDS)
