"""Short runs of `chaos.py` with fixed seeds, on the embedded engine: as part of the service, and behind a network."""

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.chaos.run import Run
from helpers.support import SERVER, Databases

SECONDS = 12.0
SETTLE_SECONDS = 120.0


@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", [1, 2])
def test_random_writes_survive_random_faults(
    number: int,
    new_migrated_database: Databases,
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
):
    home: Path | None = None if SERVER else request.getfixturevalue("migrated_seed")
    run = Run(number, SECONDS, SETTLE_SECONDS)
    assert run.execute(new_migrated_database, home), run.report()
    record_property("fault", f"chaos with seed {number}: {run.summary}")
