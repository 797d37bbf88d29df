"""The 2.x client of `mcp`: negotiation by `mode`, list of the tools, then calls. Prints one JSON document."""

import asyncio
import json
import sys
from typing import Any

from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.exceptions import MCPError


async def run(url: str, headers: dict[str, str], mode: Any, calls: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    async with create_mcp_http_client(headers) as http:
        transport = streamable_http_client(url, http_client=http)
        async with Client(transport, mode=mode) as client:
            tools = (await client.list_tools()).tools
            return {
                "version": client.protocol_version,
                "tools": [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools],
                "answers": [await answer(client, name, arguments) for name, arguments in calls],
            }


async def answer(client: Client, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        result = await client.call_tool(name, arguments)
    except MCPError as error:
        return {"code": error.error.code, "message": error.error.message}
    return result.model_dump(mode="json", by_alias=True, exclude_none=True)


def failures(error: BaseException) -> list[str]:
    inner = getattr(error, "exceptions", None)
    return [text for each in inner for text in failures(each)] if inner else [f"{type(error).__name__}: {error}"]


async def converse(given: dict[str, Any]) -> dict[str, Any]:
    try:
        return await run(given["url"], given["headers"], given["mode"], given["calls"])
    except Exception as error:
        return {"failures": failures(error)}


async def converse_all(conversations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [await converse(given) for given in conversations]


print(json.dumps(asyncio.run(converse_all(json.loads(sys.argv[1])))))  # noqa: T201
