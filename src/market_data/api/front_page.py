"""The page at `/` for browsers: links, the newest prices and examples. It works without JavaScript."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any, Final
from urllib.parse import quote

from litestar import MediaType, Request, get
from litestar.response.base import ASGIResponse
from msgspec.structs import replace

from market_data import __version__
from market_data.api.dashboard import HEADERS
from market_data.api.http.base_urls import base_url, base_urls
from market_data.api.http.caching import conditional_response
from market_data.api.http.consistency import read_source
from market_data.api.http.handlers import root_path
from market_data.api.http.naming import loaded_names
from market_data.api.http.openapi import OPEN
from market_data.errors import DatabaseUnavailable
from market_data.models import SERVICE, LatestPrice
from market_data.queries.latest_prices import read_newest_prices
from market_data.queries.row_pages import digits_of
from market_data.services import services_of

PAGE: Final = Template(Path(__file__).with_suffix(".html").read_text())
STYLES: Final = Path(__file__).with_suffix(".css").read_bytes()

LINKS: Final = {
    "/dashboard": ("Dashboard", "the market, live"),
    "/docs": ("API documentation", "try each path in Swagger UI"),
    "/redoc": ("API reference", "the same in ReDoc"),
    "/openapi.json": ("OpenAPI document", "for generated clients"),
    "/health": ("Health", "service and database"),
    "/metrics": ("Metrics", "for Prometheus"),
}
EXAMPLES: Final = (
    "curl '{base}/price/latest?symbol={symbol}'",
    "curl '{base}/candles?symbol={symbol}&interval=1h&limit=24'",
    "curl -N '{base}/stream?symbols={symbol}&channels=trades,candles_1m'",
)
DEFAULT_SYMBOL: Final = "AAPL"


async def front_page(request: Request[Any, Any, Any]) -> ASGIResponse:
    """Return the page."""
    root = escape(root_path(request))
    prices, note = await _read_prices(request)
    symbol = prices[0].symbol if prices else DEFAULT_SYMBOL
    base = base_url(request)
    commands = [example.format(base=base, symbol=quote(symbol, safe="")) for example in EXAMPLES]
    page = PAGE.substitute(
        root=root,
        service=SERVICE,
        version=__version__,
        links="".join(
            f'<li><a href="{root}{path}"><b>{name}</b><span>{purpose}</span></a></li>'
            for path, (name, purpose) in LINKS.items()
        ),
        prices=_table(prices) if prices else f"<p>{note}</p>",
        examples="".join(f"<pre><code>{escape(command)}</code></pre>" for command in commands),
        clients=_clients(base_urls(request)),
    )
    return conditional_response(request, page.encode(), MediaType.HTML, HEADERS)


async def _read_prices(request: Request[Any, Any, Any]) -> tuple[Sequence[LatestPrice], str]:
    """Return the newest prices, or the reason why there are none."""
    if services_of(request).settings.auth == "required":  # a page can't send a key, and is open
        return [], "Reading prices needs an API key. The dashboard asks for it."
    try:
        names = await loaded_names(request)
        found = await read_source(request).read_coalesced(read_newest_prices)
        shown = [replace(price, symbol=names.name_of(price.symbol)) for price in found] if names else found
        return shown, "There are no trades yet."
    except DatabaseUnavailable:
        return [], "The prices can't be read at the moment."


def _table(prices: Sequence[LatestPrice]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(price.symbol)}</th><td>{digits_of(price.price)}</td><td>{digits_of(price.volume)}</td>'
        f"<td>{price.timestamp:%Y-%m-%d %H:%M:%S}</td></tr>"
        for price in prices
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Symbol", "Price", "Volume", "Time (UTC)"))
    return (
        '<div class="scroll" tabindex="0" role="region" aria-labelledby="prices">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _clients(addresses: Mapping[str, str]) -> str:
    """Return the addresses for clients of other services; nothing if the service serves no foreign protocol."""
    if not addresses:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{escape(name.replace("_", " "))}</th><td><code>{escape(url)}</code></td></tr>'
        for name, url in addresses.items()
    )
    return (
        '<section aria-labelledby="clients"><h2 id="clients">Clients of other services</h2>'
        "<p>They work with this service once their base URL is one of these.</p>"
        '<div class="scroll" tabindex="0" role="region" aria-labelledby="clients">'
        f"<table><tbody>{rows}</tbody></table></div></section>"
    )


@get("/assets/front_page.css", opt=OPEN, include_in_schema=False, sync_to_thread=False)
def styles(request: Request[Any, Any, Any]) -> ASGIResponse:
    """Return the style sheet of the page."""
    return conditional_response(request, STYLES, MediaType.CSS, HEADERS)
