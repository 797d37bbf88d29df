"""A second session of the test database."""

from collections.abc import Iterator

import psycopg
import pytest
from helpers.support import Connection


@pytest.fixture
def other(database_url: str) -> Iterator[Connection]:
    """Connect to `database_url` without autocommit mode, so that each statement begins a transaction or continues it."""
    with psycopg.connect(database_url, options="-c timezone=UTC") as connection:
        yield connection
