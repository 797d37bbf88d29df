"""`GET /dashboard` and its files. The page uses only the public API.

It requests nothing from other hosts, and its content security policy enforces that: no inline script or style of anyone else
either. The files are joined and their paths contain the hash of all of them, so that a browser requests few, keeps them
forever, and never mixes those of two versions.
"""

import re
from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

from litestar import Request, get
from litestar.response.base import ASGIResponse

from market_data.api.http.caching import IMMUTABLE, conditional_response
from market_data.api.http.handlers import redirect_from_slash
from market_data.api.http.openapi import OPEN
from market_data.api.script_bundle import bundle
from market_data.errors import NotFound

FOLDER = Path(__file__).parents[1] / "dashboard"

MEDIA_TYPES: Final = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".svg": "image/svg+xml",
}

CONTENT_POLICY: Final = (
    "default-src 'none'; script-src 'self'{scripts}; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "worker-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {"Content-Security-Policy": CONTENT_POLICY.format(scripts="")}

PAGE: Final = "index.html"
SOURCES: Final = {path.name: path.read_text() for path in sorted(FOLDER.iterdir()) if path.suffix in MEDIA_TYPES}
"""The files by name. They are small and stay in memory; a path traversal can reach no other file.

Each is also served as it is, for the page at `/` and for debugging.
"""

ENTRIES: Final = ("app.js", "stream_worker.js")
"""Modules that the browser loads; others are joined with them."""
STYLES: Final = "styles.css"
CHART_SCRIPT: Final = "lightweight-charts.standalone.production.mjs"
SCRIPT: Final = re.compile(r'<script src="assets/dashboard/(\w+\.js)"></script>')
STYLE_SHEETS: Final = re.compile(r'(?: *<link rel="stylesheet" href="assets/dashboard/\w+\.css">\n)+')
STYLE_SHEET: Final = re.compile(r'href="assets/dashboard/(\w+\.css)"')


class Dashboard(NamedTuple):
    """The page, its content security policy, and its files by path."""

    page: bytes
    headers: Mapping[str, str]
    files: Mapping[str, bytes]


@cache
def build(chart: bytes | None) -> Dashboard:
    """Return the page as it is served, and its files with the script of its chart."""
    page = SOURCES[PAGE]
    files = {name: bundle(name, SOURCES).encode() for name in ENTRIES}
    files[STYLES] = "".join(SOURCES[name] for name in STYLE_SHEET.findall(page)).encode()
    files["icon.svg"] = SOURCES["icon.svg"].encode()
    if chart is not None:
        files[CHART_SCRIPT] = chart
    folder = f"assets/dashboard/{_version(files)}"
    inline: set[str] = set()

    def inlined(match: re.Match[str]) -> str:
        text = SOURCES[match[1]]
        inline.add(f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'")
        return f"<script>{text}</script>"

    page = STYLE_SHEETS.sub(f'  <link rel="stylesheet" href="assets/dashboard/{STYLES}">\n', page)
    page = SCRIPT.sub(inlined, page).replace('"assets/dashboard/', f'"{folder}/')
    policy = CONTENT_POLICY.format(scripts="".join(f" {each}" for each in sorted(inline)))
    paths = {f"/{folder}/{name}": body for name, body in files.items()}
    return Dashboard(page.encode(), {"Content-Security-Policy": policy}, paths)


def _version(files: Mapping[str, bytes]) -> str:
    """Return the hash of all files."""
    digest = blake2b(digest_size=10)
    for name, body in files.items():
        digest.update(f"{name} {len(body)} ".encode() + body)
    return digest.hexdigest()


def pages(assets: Path | None) -> list[Any]:
    """Return the handlers; `assets` is the `node_modules` folder with the chart's script."""
    script = assets and assets / "lightweight-charts/dist" / CHART_SCRIPT
    dashboard = build(script.read_bytes() if script and script.is_file() else None)

    @get("/dashboard", opt=OPEN, include_in_schema=False, sync_to_thread=False)
    def page(request: Request[Any, Any, Any]) -> ASGIResponse:
        if redirect := redirect_from_slash(request):
            return redirect
        if assets is None:
            raise NotFound("The script of the dashboard's chart is not installed; set DOCS_ASSETS.")
        return conditional_response(request, dashboard.page, MEDIA_TYPES[".html"], dashboard.headers)

    @get(list(dashboard.files), opt=OPEN, include_in_schema=False, sync_to_thread=False)
    def file(request: Request[Any, Any, Any]) -> ASGIResponse:
        path = request.scope["path"]
        media_type = MEDIA_TYPES[Path(path).suffix]
        return ASGIResponse(body=dashboard.files[path], media_type=media_type, headers={**HEADERS, **IMMUTABLE})

    sources = {f"/assets/dashboard/{name}": text.encode() for name, text in SOURCES.items() if name != PAGE}
    if script and script.is_file():
        sources[f"/assets/dashboard/{CHART_SCRIPT}"] = script.read_bytes()  # for the modules of the chart

    @get(
        list(sources),
        opt=OPEN,
        include_in_schema=False,
        sync_to_thread=False,
    )
    def source(request: Request[Any, Any, Any]) -> ASGIResponse:
        path = request.scope["path"]
        return conditional_response(request, sources[path], MEDIA_TYPES[Path(path).suffix], HEADERS)

    return [page, file, source]
