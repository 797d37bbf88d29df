"""OPTIONS of the paths that two handlers share: the framework's own answer there names the methods of the first one only."""

from typing import Any

from litestar import Response, route
from litestar.enums import HttpMethod


def allowing(path: str, *methods: str) -> Any:
    """A handler that tells which methods a path has. It has to be registered before the handlers of those."""

    @route(path, http_method=[HttpMethod.OPTIONS], status_code=204, include_in_schema=False, sync_to_thread=False)
    def options() -> Response[None]:
        return Response(None, status_code=204, headers={"Allow": ", ".join(sorted((*methods, "OPTIONS")))})

    return options
