"""The application on the test database, without a feed; its client validates every response against the OpenAPI document."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest
from helpers.api_keys import bearer, store_key
from helpers.renames import FACEBOOK, FUND, add, rename, wait_for_names
from helpers.service import eventually
from helpers.sse_client import connected_clients
from helpers.support import Connection, create_patient_app, serving, store, trade
from litestar.testing import TestClient

from market_data.auth.api_keys import Scope
from market_data.settings import Settings

Document = dict[str, Any]
Validate = Callable[[Document, Any], None]


@pytest.fixture(scope="session")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a stub of a `node_modules` folder; `tests/browser` uses the real one."""
    folder = tmp_path_factory.mktemp("node_modules")
    for script in ("swagger-ui-dist/swagger-ui-bundle.js", "redoc/bundles/redoc.standalone.js"):
        (folder / script).parent.mkdir(parents=True)
        (folder / script).write_text("// a script")
    return folder


@pytest.fixture(scope="session")
def settings(session_database: str, assets: Path) -> Settings:
    return Settings(database_url=session_database, feed_enabled=False, compatibility="none", docs_assets=str(assets))


@pytest.fixture(scope="session")
def document() -> Document:
    """Return the OpenAPI document of the service's own API."""
    app = create_patient_app(Settings(database_url="postgresql:///nowhere", feed_enabled=False, compatibility="none"))
    return json.loads(json.dumps(app.openapi_schema.to_schema()))


@pytest.fixture(scope="session")
def valid(document: Document) -> Validate:
    """Return a function that validates a body against a schema of the document."""
    return partial(validate, document)


@pytest.fixture(scope="session")
def make_client(document: Document) -> Callable[[Settings], TestClient]:
    """Return a function that creates a client of an application with other settings."""

    def check(response: httpx.Response) -> None:
        response.read()
        assert_documented(document, response)

    def make(settings: Settings) -> TestClient:
        # Exceptions become responses, as for any client.
        client = TestClient(create_patient_app(settings), raise_server_exceptions=False)
        client.event_hooks = {"response": [check]}
        return client

    return make


@pytest.fixture(scope="session")
def service(settings: Settings, make_client: Callable[[Settings], TestClient]) -> Iterator[TestClient]:
    """Client for tests that work with any data."""
    with make_client(settings) as client:
        yield client


@pytest.fixture
def client(service: TestClient, database_url: str) -> TestClient:
    """Client of a service whose database is empty."""
    assert database_url
    return service


@pytest.fixture(scope="session")
def writing_service(
    settings: Settings, session_database: str, make_client: Callable[[Settings], TestClient]
) -> Iterator[TestClient]:
    """Client with an API key of scope admin."""
    secret = store_key(session_database, "admin", name="tester")
    with make_client(settings) as client:
        client.headers.update(bearer(secret))
        yield client


@pytest.fixture
def writer(writing_service: TestClient, database_url: str) -> TestClient:
    """Client with an API key of scope admin, named `tester`, and an empty database."""
    assert database_url
    return writing_service


@pytest.fixture(scope="module")
def base(settings: Settings) -> Iterator[str]:
    """URL of a service that listens on a port."""
    with serving(create_patient_app(settings)) as address:
        yield address


@pytest.fixture
def address(base: str, known: Connection) -> str:
    """URL of a service with AAPL and MSFT, both without trades."""
    assert known
    return base


@pytest.fixture
def no_clients() -> None:
    """Streams of earlier tests end some time after their clients have left, and count as connected until then."""
    eventually(lambda: connected_clients() == 0)


@pytest.fixture
def two_trades(connection: Connection) -> Connection:
    """Connection to a database with two trades of AAPL, both at T0."""
    store(connection, trade(0, "1.5", "2"), trade(0, "1.5", "2", trade_id=8))
    return connection


@pytest.fixture(scope="session")
def keys(session_database: str) -> dict[str, str]:
    """API keys by their scope, named `owasp-read` and so on."""
    scopes: tuple[Scope, ...] = ("read", "write", "admin")
    return {scope: store_key(session_database, scope, name=f"owasp-{scope}") for scope in scopes}


@pytest.fixture
def market(writer: TestClient, service: TestClient, connection: Connection) -> Iterator[TestClient]:
    """A service with both instruments before their renames. Afterwards, the services forget all names."""
    for each in (writer, service):
        wait_for_names(each, any_names=False)
    add(writer, "FB", "Meta Platforms", FACEBOOK)
    add(writer, "META", "Roundhill Ball Metaverse ETF", FUND)
    yield writer
    connection.execute("DELETE FROM symbol_names")
    for each in (writer, service):
        wait_for_names(each, any_names=False)


@pytest.fixture
def renamed(market: TestClient) -> TestClient:
    """The service after both renames."""
    assert rename(market, "META", "METV", "2022-01-31").status_code == 200
    assert rename(market, "FB", "META", "2022-06-09", reason="new name").status_code == 200
    return market


ANYWHERE = {408, 414, 431}
"""Statuses that the document describes for all paths together."""


def assert_documented(document: Document, response: httpx.Response) -> None:
    """Assert that the document describes the response, or that a response without a description is a problem."""
    media_type = response.headers.get("content-type", "").partition(";")[0]
    operation = document["paths"].get(response.request.url.path, {}).get(response.request.method.lower())
    if operation is None or response.status_code in ANYWHERE:
        if response.status_code >= 400:
            assert media_type == "application/problem+json"
            validate(document, {"$ref": "#/components/schemas/Problem"}, response.json())
        return
    described = operation["responses"].get(str(response.status_code))
    assert described, f"{response.status_code} is not documented"
    if response.status_code == 304:
        assert not response.content
    else:
        assert media_type in described["content"]
    if media_type.endswith(("/json", "+json")):
        validate(document, described["content"][media_type]["schema"], response.json())
    for name, header in described.get("headers", {}).items():
        assert not header.get("required") or name in response.headers


def validate(document: Document, schema: Document, body: Any) -> None:
    """Validate a body against a schema of the document. Undocumented fields are errors."""
    components = {
        name: component | {"unevaluatedProperties": False} if component["type"] == "object" else component
        for name, component in document["components"]["schemas"].items()
    }
    jsonschema_rs.validator_for(
        schema | {"$schema": "https://json-schema.org/draft/2020-12/schema", "components": {"schemas": components}},
        validate_formats=True,
    ).validate(body)
