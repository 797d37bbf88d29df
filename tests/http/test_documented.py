"""Schemathesis: whatever is asked of the running service, it answers as its document says."""

import json
from collections.abc import Iterator

import psycopg
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance
from support import serving, store, trade

from market_data.app import create_app
from market_data.settings import Settings

nowhere = Settings(database_url="postgresql:///nowhere", feed_enabled=False)
schema = schemathesis.openapi.from_dict(json.loads(json.dumps(create_app(nowhere).openapi_schema.to_schema())))


@pytest.fixture(scope="module")
def address(session_database: str) -> Iterator[str]:
    """Where a service listens, on a database with a few trades."""
    with psycopg.connect(session_database, autocommit=True) as connection:
        connection.execute("TRUNCATE trades")
        store(connection, *(trade(number, "104.90") for number in range(200)))
    with serving(create_app(Settings(database_url=session_database, feed_enabled=False))) as address:
        yield address


# An answer of /stream never ends; tests/http/test_live.py reads it.
@schema.exclude(path="/stream").parametrize()
@settings(
    max_examples=50,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
def test_every_answer_is_as_documented(case: schemathesis.Case, address: str):
    # The document can't say that a start must lie before an end, and that a token belongs to its parameters.
    case.call_and_validate(base_url=address, excluded_checks=[positive_data_acceptance])
