"""The application with a route that returns constant bytes: the upper bound of this stack."""

from litestar import Litestar, get
from litestar.response.base import ASGIResponse

from market_data.server.serve import create_worker

PATH = "/static"
BODY = b'{"symbol":"AAPL","price":189.44,"volume":104.9,"timestamp":"2026-02-08T10:30:00Z"}'


@get(PATH, include_in_schema=False)
async def static() -> ASGIResponse:
    return ASGIResponse(body=BODY)


def create() -> Litestar:
    app = create_worker()
    app.register(static)
    return app
