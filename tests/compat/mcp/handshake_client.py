"""The 1.x client of `mcp`: handshake, list of the tools, then calls. Prints one JSON document."""

# The package of the environment is newer.
# pyright: reportAttributeAccessIssue=false

import asyncio
import json
import sys
from typing import Any

from mcp import ClientSession, McpError
from mcp.client.streamable_http import streamablehttp_client


async def run(url: str, headers: dict[str, str], calls: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    async with streamablehttp_client(url, headers) as (read, write, _), ClientSession(read, write) as session:
        started = await session.initialize()
        tools = (await session.list_tools()).tools
        return {
            "version": started.protocolVersion,
            "tools": [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools],
            "answers": [await answer(session, name, arguments) for name, arguments in calls],
        }


async def answer(session: ClientSession, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        result = await session.call_tool(name, arguments)
    except McpError as error:
        return {"code": error.error.code, "message": error.error.message}
    return result.model_dump(mode="json", by_alias=True, exclude_none=True)


def failures(error: BaseException) -> list[str]:
    inner = getattr(error, "exceptions", None)
    return [text for each in inner for text in failures(each)] if inner else [f"{type(error).__name__}: {error}"]


async def converse(given: dict[str, Any]) -> dict[str, Any]:
    try:
        return await run(given["url"], given["headers"], given["calls"])
    except Exception as error:
        return {"failures": failures(error)}


async def converse_all(conversations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [await converse(given) for given in conversations]


print(json.dumps(asyncio.run(converse_all(json.loads(sys.argv[1])))))  # noqa: T201
