"""SIGTERM and Ctrl-C in every phase of the service and of an import: they end within ten seconds, without errors."""

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from helpers.service import Process
from helpers.stop_phases import PHASES, STOP_SECONDS, Site, import_stalled, import_waiting_for_input
from helpers.support import Databases

Phase = Callable[[Site], Process]

SIGNALS = [signal.SIGTERM, signal.SIGINT]


@pytest.fixture
def site(tmp_path: Path, database_url: str, new_database: Databases, migrated_seed: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(tmp_path, database_url, new_database, migrated_seed, stack)


@pytest.mark.parametrize("number", SIGNALS, ids=["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("phase", PHASES, ids=[phase.__name__ for phase in PHASES])
def test_the_service_ends_within_ten_seconds(phase: Phase, number: signal.Signals, site: Site):
    service = phase(site)
    service.signal(number, group=number == signal.SIGINT)  # as Ctrl-C
    assert service.wait(STOP_SECONDS) == 0
    assert "Traceback" not in service.text
    assert "ASGI callable" not in service.text
    assert '"level":"error"' not in service.text


@pytest.mark.parametrize("number", SIGNALS, ids=["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("phase", [import_waiting_for_input, import_stalled])
def test_an_import_ends_within_ten_seconds(phase: Phase, number: signal.Signals, site: Site):
    loading = phase(site)
    loading.signal(number, group=number == signal.SIGINT)
    assert loading.wait(STOP_SECONDS) == 130
    assert "interrupted; stored trades stay, and the same command stores the rest" in loading.text
    assert "Traceback" not in loading.text
