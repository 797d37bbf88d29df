"""The OpenAPI document and its pages.

The pages request nothing from other hosts: scripts and styles come from this service, out of npm's folder (`DOCS_ASSETS`).
The content security policy enforces that.
"""

import re
from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from litestar import MediaType, Request, Response, Router, get
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, OpenAPIRenderPlugin
from litestar.openapi.spec import Components, Reference, SecurityScheme, Tag
from litestar.response.base import ASGIResponse
from litestar.types import Method
from litestar.types.internal_types import PathParameterDefinition

from market_data import __version__
from market_data.api.docs_pages import REDOC, REPLACED, SWAGGER, completed
from market_data.api.http.caching import REVALIDATE, STATIC, conditional_response
from market_data.api.http.components import DocumentConfig
from market_data.api.http.handlers import redirect_from_slash, root_path
from market_data.api.http.openapi import OPEN, WITH_KEY
from market_data.errors import NotFound

DESCRIPTION = """
Market prices: the newest trade of a symbol, all trades, and candles.

Times are RFC 3339 in UTC with a `Z`. Ranges are half-open: `start` inclusive, `end` exclusive. Symbols may be written in
upper or lower case. A response that is cut at its `limit` has a `next_page_token` and a `Link` header for the next page.
HEAD works wherever GET does. Responses of more than a kilobyte are compressed with zstd or gzip as `Accept-Encoding` asks,
except streams; bodies of requests may be compressed with gzip (`Content-Encoding: gzip`).
Errors are problem details (RFC 9457). Besides the listed ones, every path may return 400 (invalid `Host`), 408 (the body
arrives too slowly), 414 and 431 (path and query, or the headers, are too large) and 503 with `Retry-After` (time-out).
"""

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self' {scripts}; style-src 'self' {styles}; img-src 'self' data:; connect-src 'self'; "
    "worker-src blob:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

INLINE = re.compile(rb"<(script|style)[^>]*>(.*?)</\1>", re.DOTALL)

SCRIPTS = {
    Path(path).name: path
    for path in (
        "swagger-ui-dist/swagger-ui-bundle.js",
        "swagger-ui-dist/swagger-ui-standalone-preset.js",
        "swagger-ui-dist/swagger-ui.css",
        "redoc/bundles/redoc.standalone.js",
    )
}
"""Files of the pages, by name under `/assets`. No other file of npm's folder is served."""


@cache
def _read_script(path: Path) -> bytes:
    """Return a script, which is kept in memory (3.1 MB in all) like its compressed bodies, because its path needs no key."""
    script = path.read_bytes()
    for part, replacement in REPLACED.items():
        script = script.replace(part, replacement)
    return script


SCHEMES: dict[str, SecurityScheme | Reference] = {
    "key": SecurityScheme("http", scheme="bearer", description="An API key, as `market-data keys create` prints it."),
    "apiKeyHeader": SecurityScheme("apiKey", name="X-API-Key", security_scheme_in="header", description="The same key."),
}

MAX_PREFIXES = 16
"""Path prefixes whose documents and pages are kept; trusted proxies may send many."""


class Rendered(NamedTuple):
    """The document as JSON or as a page, and the content security policy of the page."""

    body: bytes
    policy: str


class RenderedDocuments:
    """The document as a render plugin of Litestar formats it, once for each path prefix: it takes up to 50 ms."""

    def __init__(self, plugin: OpenAPIRenderPlugin) -> None:
        self._plugin = plugin
        self._rendered: dict[str, Rendered] = {}

    def render(self, request: Request[Any, Any, Any]) -> Rendered:
        """Return the document with the path prefix of the request."""
        prefix = root_path(request)
        if prefix not in self._rendered:
            document = {**request.app.openapi_schema.to_schema(), "servers": [{"url": prefix or "/"}]}
            # Litestar leaves the type of `render`'s first parameter open.
            body = self._plugin.render(request, document)  # pyright: ignore[reportUnknownMemberType]
            if self._plugin in (SWAGGER, REDOC):
                body = completed(body)
            if len(self._rendered) >= MAX_PREFIXES:
                self._rendered.clear()
            self._rendered[prefix] = Rendered(body, _content_policy(body, self._plugin))
        return self._rendered[prefix]


class DocumentPlugin(JsonRenderPlugin):
    """The document as JSON."""

    def __init__(self) -> None:
        super().__init__()
        self._documents = RenderedDocuments(JsonRenderPlugin())

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """Return the document, whose paths are relative to the path prefix of the request."""
        return self._documents.render(request).body


async def _not_found_as_problem(response: Response[Any]) -> Response[Any]:
    """Turn Litestar's page for unknown paths beside the document into a problem."""
    if response.status_code == 404:
        raise NotFoundException
    response.headers.update(REVALIDATE)
    return response


def openapi_config(tags: Sequence[Tag], *, required: bool) -> OpenAPIConfig:
    """Return the configuration of the document, with further tags. `required` is True if reads need a key."""
    return DocumentConfig(
        title="Market Data Platform",
        version=__version__,
        description=DESCRIPTION.strip(),
        tags=[
            Tag("Corporate actions", "Splits, dividends and spin-offs, to which prices are adjusted when they are read."),
            Tag("Prices", "The symbols and their newest prices."),
            Tag("Calendars", "Trading sessions, and if a market is open."),
            Tag("Trades", "Every trade."),
            Tag("Candles", "Open, high, low, close and volume by bucket."),
            Tag("Live", "Events as they are committed."),
            Tag("Service", "The service itself."),
            *tags,
        ],
        operation_id_creator=_operation_id,
        components=Components(security_schemes=SCHEMES),
        security=[*WITH_KEY] if required else [{}, *WITH_KEY],
        render_plugins=[DocumentPlugin()],
        openapi_router=Router(
            "/schema", route_handlers=[], opt=OPEN, include_in_schema=False, after_request=_not_found_as_problem
        ),
    )


def _operation_id(handler: HTTPRouteHandler, method: Method, path: list[str | PathParameterDefinition]) -> str:
    """Return the name of an operation in generated clients: `getCandles`, `storeTrades`."""
    first, *others = handler.fn.__name__.split("_") if path != ["price"] else ["price"]
    words = ["get", first, *others] if method == "GET" else [first, *others]
    return words[0] + "".join(word.capitalize() for word in words[1:])


def _content_policy(page: bytes, plugin: OpenAPIRenderPlugin) -> str:
    """Return a policy that allows the inline scripts of a page by their hashes, and no other."""
    allowed: dict[bytes, set[str]] = {b"script": set(), b"style": set()}
    for kind, text in INLINE.findall(page):
        if text:
            allowed[kind].add(f"'sha256-{b64encode(sha256(text).digest()).decode()}'")
    # ReDoc's styled components add styles to the page, whose hashes are unknown.
    styles = {"'unsafe-inline'"} if plugin is REDOC else allowed[b"style"]
    return CONTENT_POLICY.format(scripts=" ".join(sorted(allowed[b"script"])), styles=" ".join(sorted(styles)))


def pages(assets: Path | None) -> list[Any]:
    """Return the handlers of `/docs`, `/redoc` and their scripts; `assets` is a `node_modules` folder."""
    swagger_pages, redoc_pages = RenderedDocuments(SWAGGER), RenderedDocuments(REDOC)

    def page(request: Request[Any, Any, Any], documents: RenderedDocuments) -> ASGIResponse:
        if redirect := redirect_from_slash(request):
            return redirect
        if assets is None:
            raise NotFound(
                "The scripts of the documentation pages are not installed; set DOCS_ASSETS. "
                "The document itself is at /schema/openapi.json."
            )
        html, policy = documents.render(request)
        return conditional_response(request, html, MediaType.HTML, {"Content-Security-Policy": policy})

    @get("/docs", opt=OPEN, include_in_schema=False, sync_to_thread=False)
    def swagger(request: Request[Any, Any, Any]) -> ASGIResponse:
        return page(request, swagger_pages)

    @get("/redoc", opt=OPEN, include_in_schema=False, sync_to_thread=False)
    def redoc(request: Request[Any, Any, Any]) -> ASGIResponse:
        return page(request, redoc_pages)

    documents = RenderedDocuments(JsonRenderPlugin())

    @get("/openapi.json", opt=OPEN, include_in_schema=False, sync_to_thread=False)
    def document(request: Request[Any, Any, Any]) -> ASGIResponse:
        return conditional_response(request, documents.render(request).body, MediaType.JSON, {})

    @get([f"/assets/{name}" for name in SCRIPTS], opt=OPEN, include_in_schema=False, sync_to_thread=False)
    def script(request: Request[Any, Any, Any]) -> ASGIResponse:
        path = Path(assets or "", SCRIPTS[Path(request.url.path).name])
        if assets is None or not path.is_file():
            raise NotFoundException
        media_type = "text/css" if path.suffix == ".css" else "text/javascript"
        return ASGIResponse(body=_read_script(path), media_type=media_type, headers=STATIC)

    return [swagger, redoc, document, script]
