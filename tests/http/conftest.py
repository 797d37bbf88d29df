"""The application on the test database, without a feed, behind a client that holds every answer against the document."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import psycopg
import pytest
from litestar.testing import TestClient

from market_data.app import create_app
from market_data.auth.api_keys import generate_key, hash_key, parse_prefix
from market_data.settings import Settings

Document = dict[str, Any]
Validate = Callable[[Document, Any], None]


@pytest.fixture(scope="session")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `node_modules` folder, as far as paths go; the real one is for `tests/browser`."""
    folder = tmp_path_factory.mktemp("node_modules")
    for script in ("swagger-ui-dist/swagger-ui-bundle.js", "redoc/bundles/redoc.standalone.js"):
        (folder / script).parent.mkdir(parents=True)
        (folder / script).write_text("// a script")
    return folder


@pytest.fixture(scope="session")
def settings(session_database: str, assets: Path) -> Settings:
    return Settings(database_url=session_database, feed_enabled=False, docs_assets=str(assets))


@pytest.fixture(scope="session")
def document() -> Document:
    """The OpenAPI document."""
    app = create_app(Settings(database_url="postgresql:///nowhere", feed_enabled=False))
    return json.loads(json.dumps(app.openapi_schema.to_schema()))


@pytest.fixture(scope="session")
def valid(document: Document) -> Validate:
    """Raises what is wrong with a body under a schema of the document."""
    return partial(validate, document)


@pytest.fixture(scope="session")
def make_client(document: Document) -> Callable[[Settings], TestClient]:
    """Makes clients of an application with other settings."""

    def check(response: httpx.Response) -> None:
        response.read()
        assert_documented(document, response)

    def make(settings: Settings) -> TestClient:
        # Failures are answers here, as they are to a client.
        client = TestClient(create_app(settings), raise_server_exceptions=False)
        client.event_hooks = {"response": [check]}
        return client

    return make


@pytest.fixture(scope="session")
def service(settings: Settings, make_client: Callable[[Settings], TestClient]) -> Iterator[TestClient]:
    """A client for tests that do not care what the database holds."""
    with make_client(settings) as client:
        yield client


@pytest.fixture
def client(service: TestClient, database_url: str) -> TestClient:
    """A client of a service whose database has nothing but what the test stores."""
    assert database_url
    return service


@pytest.fixture(scope="session")
def writing_service(
    settings: Settings, session_database: str, make_client: Callable[[Settings], TestClient]
) -> Iterator[TestClient]:
    """A client whose key may do everything."""
    secret = generate_key()
    with psycopg.connect(session_database, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO api_keys (name, prefix, hash, scopes) VALUES ('tester', %s, %s, '{admin}')",
            (parse_prefix(secret), hash_key(secret)),
        )
    with make_client(settings) as client:
        client.headers["Authorization"] = f"Bearer {secret}"
        yield client


@pytest.fixture
def writer(writing_service: TestClient, database_url: str) -> TestClient:
    """As `client`, with the key `tester`, which may do everything."""
    assert database_url
    return writing_service


ANYWHERE = {408, 414, 431}
"""What the description of the document says of every path."""


def assert_documented(document: Document, response: httpx.Response) -> None:
    """That an answer is one that the document describes; of what it does not describe, that it is a problem."""
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
    if media_type.endswith("json"):
        validate(document, described["content"][media_type]["schema"], response.json())
    for name, header in described.get("headers", {}).items():
        assert not header.get("required") or name in response.headers


def validate(document: Document, schema: Document, body: Any) -> None:
    """Raise what is wrong with a body under a schema of the document. Fields that it does not name are wrong too."""
    components = {
        name: component | {"unevaluatedProperties": False} if component["type"] == "object" else component
        for name, component in document["components"]["schemas"].items()
    }
    jsonschema_rs.validator_for(
        schema | {"$schema": "https://json-schema.org/draft/2020-12/schema", "components": {"schemas": components}},
        validate_formats=True,
    ).validate(body)
