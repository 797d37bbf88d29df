"""A foreign protocol: its dialect, its handlers and what the service says about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from litestar import Router
from litestar.openapi.spec import Tag

from market_data.api.http.dialects import Dialect


@dataclass(frozen=True)
class Protocol:
    """A foreign protocol as `COMPATIBILITY` selects it."""

    name: str
    """Name in `COMPATIBILITY`."""
    tag: Tag
    """Tag of its operations in the OpenAPI document, with its description."""
    dialect: Dialect
    base_urls: Mapping[str, str]
    """Paths of the addresses that clients are given, by a name for `GET /`; `ws:` before the path of a WebSocket."""
    handlers: Sequence[Any]

    @property
    def router(self) -> Router:
        """Router of the handlers. Unknown query parameters are ignored: clients send many that have no meaning here."""
        return Router("/", route_handlers=self.handlers, tags=[self.tag.name])
