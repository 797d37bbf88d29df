"""OPTIONS of paths with two handlers: Litestar's own response names the methods of the first handler only."""

from typing import Any

from litestar import Response, route
from litestar.enums import HttpMethod


def options_handler(path: str, *methods: str) -> Any:
    """Return a handler that lists the methods of a path. It must be registered before the handlers of these."""

    @route(path, http_method=[HttpMethod.OPTIONS], status_code=204, include_in_schema=False, sync_to_thread=False)
    def list_methods() -> Response[None]:
        return Response(None, status_code=204, headers={"Allow": ", ".join(sorted((*methods, "OPTIONS")))})

    return list_methods
