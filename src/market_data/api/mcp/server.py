"""The endpoint: requests to `/mcp`, answered by the library `mcp`, statelessly and in JSON, for both generations of clients.

The library gets a request once the middlewares and this handler have checked it, and its own checks of `Host` and `Origin`
are off.
"""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final, cast

import mcp_types
from litestar import Request, post
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError

from market_data import __version__
from market_data.api.http.bodies import JSON, max_bytes, media_type_of, read_body
from market_data.api.http.caching import NO_STORE
from market_data.api.http.origins import AllowedOrigins
from market_data.api.mcp.answers import show
from market_data.api.mcp.calls import CallFailed, call
from market_data.api.mcp.errors import DIALECT
from market_data.api.mcp.tools import TOOLS
from market_data.models import SERVICE
from market_data.settings import Settings

MAX_MESSAGE_BYTES = 1_000_000
"""Size of a message, which may have 10,000 symbols of 64 characters."""

INSTRUCTIONS: Final = (
    "Market prices: trades, and candles computed from them. All times are UTC. Symbols are in upper or lower case. An "
    "answer is a CSV table of at most 100 rows, with next_page_token if there are more. `as_of`, where a tool has it, "
    "answers as the data was known at a time or version (data_version of an answer), which makes answers repeatable."
)


class McpEndpoint:
    """Handler of `/mcp`, and the tasks that its requests run in."""

    dialect = DIALECT

    def __init__(self, settings: Settings) -> None:
        self._origins = AllowedOrigins(settings)
        self._manager = _create_manager()
        logging.getLogger("mcp").setLevel(logging.ERROR)  # it warns of each malformed message

    @asynccontextmanager
    async def run(self) -> AsyncGenerator[None]:
        """Answer requests until the end of the block."""
        self._manager = _create_manager()  # a manager runs once
        async with self._manager.run():
            yield

    @property
    def handler(self) -> HTTPRouteHandler:
        """Handler for the application. Reading needs the same scope as on any path, and GET and DELETE are answered 405."""

        @post("/mcp", include_in_schema=False, status_code=200)
        async def mcp(request: Request[Any, Any, Any]) -> ASGIResponse:
            if not self._origins.allow(request.scope):
                detail = "Pages of this origin may not call tools here; CORS_ORIGINS lists others that may."
                raise HTTPException(detail, status_code=HTTPStatus.FORBIDDEN)
            media_type_of(request, JSON)
            body = await read_body(request, min(MAX_MESSAGE_BYTES, max_bytes(request)))
            return _LibraryResponse(self._manager, body)

        return mcp


class _LibraryResponse(ASGIResponse):
    """Response of the library to a request whose body has been read."""

    __slots__ = ("_manager",)

    def __init__(self, manager: StreamableHTTPSessionManager, body: bytes) -> None:
        self._manager = manager
        self.body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        unread = True

        async def receive_again() -> Any:
            nonlocal unread
            if not unread:
                return await receive()
            unread = False
            return {"type": "http.request", "body": self.body, "more_body": False}

        async def send_uncached(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = [(name.lower().encode(), value.encode()) for name, value in NO_STORE.items()]
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        await self._manager.handle_request(scope, receive_again, send_uncached)  # pyright: ignore[reportArgumentType]


def _create_manager() -> StreamableHTTPSessionManager:
    server = Server[Any](
        SERVICE,
        version=__version__,
        instructions=INSTRUCTIONS,
        on_list_tools=_list_tools,
        on_call_tool=_call_tool,
        get_tool_input_schema=lambda name: TOOLS[name].input_schema if name in TOOLS else None,
    )
    return StreamableHTTPSessionManager(server, json_response=True, stateless=True)


async def _list_tools(context: ServerRequestContext[Any, Any], page: object) -> mcp_types.ListToolsResult:
    return mcp_types.ListToolsResult(
        tools=[
            mcp_types.Tool(
                name=tool.name,
                title=tool.title,
                description=tool.description,
                input_schema=tool.input_schema,
                annotations=mcp_types.ToolAnnotations(title=tool.title, read_only_hint=True, open_world_hint=False),
            )
            for tool in TOOLS.values()
        ]
    )


async def _call_tool(
    context: ServerRequestContext[Any, Any], params: mcp_types.CallToolRequestParams
) -> mcp_types.CallToolResult:
    tool = TOOLS.get(params.name)
    if tool is None:
        raise MCPError(mcp_types.INVALID_PARAMS, f"There is no tool {params.name[:100]!r}; it has {', '.join(TOOLS)}.")
    arguments = dict(params.arguments or {})
    contains = arguments.pop("contains", None) if tool.searched else None
    try:
        answer = await call(tool, arguments, Request(cast("Any", context.request).scope))
        shown = show(tool, answer, str(contains or ""))
    except CallFailed as error:
        return mcp_types.CallToolResult(content=[mcp_types.TextContent(text=str(error))], is_error=True)
    return mcp_types.CallToolResult(content=[mcp_types.TextContent(text=shown.text)], structured_content=shown.structured)
