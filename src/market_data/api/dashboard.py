"""The dashboard: a page of our own beside the API, of which it uses nothing that others can't.

It asks nothing of any other host, and its content policy holds it to that: no inline script or style either.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from litestar import Request, get
from litestar.response.base import ASGIResponse

from market_data.api.http.caching import conditional
from market_data.api.http.openapi import OPEN
from market_data.errors import NotFound

FOLDER = Path(__file__).parents[1] / "dashboard"

MEDIA_TYPES: Final = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}


class Part(NamedTuple):
    """A file of the page."""

    body: bytes
    media_type: str


def _parts() -> Mapping[str, Part]:
    paths = [path for path in sorted(FOLDER.iterdir()) if path.suffix in MEDIA_TYPES]
    return {path.name: Part(path.read_bytes(), MEDIA_TYPES[path.suffix]) for path in paths}


PAGE: Final = "index.html"
PARTS: Final = _parts()
"""The files by name. They are small and stay in memory; there is no other file to be reached by a clever path."""


def pages(assets: Path | None) -> list[Any]:
    """The handlers of `/dashboard` and its parts; `assets` is the `node_modules` folder with the chart's script."""

    def part(request: Request[Any, Any, Any], name: str) -> ASGIResponse:
        body, media_type = PARTS[name]
        # Asked for again each time: after an upgrade no part may be of another version than the rest.
        return conditional(request, body, media_type, HEADERS, settled=True)

    @get("/dashboard", opt=OPEN, include_in_schema=False, sync_to_thread=False)
    def page(request: Request[Any, Any, Any]) -> ASGIResponse:
        if assets is None:
            raise NotFound("The script of the dashboard's chart is not installed; set DOCS_ASSETS.")
        return part(request, PAGE)

    names = [f"/assets/dashboard/{name}" for name in PARTS if name != PAGE]

    @get(names, opt=OPEN, include_in_schema=False, sync_to_thread=False)
    def file(request: Request[Any, Any, Any]) -> ASGIResponse:
        return part(request, Path(request.url.path).name)

    return [page, file]
