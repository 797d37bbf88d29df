"""The database behind a proxy that can cut and stall it."""

from collections.abc import Iterator

import pytest
from fault.proxy import Proxy, proxy_to
from psycopg.conninfo import conninfo_to_dict
from support import changed_url


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    target = conninfo_to_dict(database_url)
    with proxy_to(str(target["host"]), int(str(target["port"]))) as proxy:
        yield proxy


@pytest.fixture
def proxied(proxy: Proxy, database_url: str) -> str:
    return changed_url(database_url, port=proxy.port)
