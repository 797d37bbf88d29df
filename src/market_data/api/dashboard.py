"""`GET /dashboard` and its assets. The page uses only the public API.

It requests nothing from other hosts, and its content security policy enforces that: no inline script or style either.
"""

from pathlib import Path
from typing import Any, Final

from litestar import Request, get
from litestar.response.base import ASGIResponse

from market_data.api.http.caching import conditional_response
from market_data.api.http.handlers import redirect_from_slash
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


PAGE: Final = "index.html"
ASSETS: Final = {path.name: path.read_bytes() for path in sorted(FOLDER.iterdir()) if path.suffix in MEDIA_TYPES}
"""The files by name. They are small and stay in memory; a path traversal can reach no other file."""


def pages(assets: Path | None) -> list[Any]:
    """Return the handlers; `assets` is the `node_modules` folder with the chart's script."""

    def asset(request: Request[Any, Any, Any], name: str) -> ASGIResponse:
        # Revalidated each time: after an upgrade all files must have one version.
        return conditional_response(request, ASSETS[name], MEDIA_TYPES[Path(name).suffix], HEADERS, settled=True)

    @get("/dashboard", opt=OPEN, include_in_schema=False, sync_to_thread=False)
    def page(request: Request[Any, Any, Any]) -> ASGIResponse:
        if redirect := redirect_from_slash(request):
            return redirect
        if assets is None:
            raise NotFound("The script of the dashboard's chart is not installed; set DOCS_ASSETS.")
        return asset(request, PAGE)

    names = [f"/assets/dashboard/{name}" for name in ASSETS if name != PAGE]

    @get(names, opt=OPEN, include_in_schema=False, sync_to_thread=False)
    def file(request: Request[Any, Any, Any]) -> ASGIResponse:
        return asset(request, Path(request.url.path).name)

    return [page, file]
