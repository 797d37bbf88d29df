"""Calls of Massive's unmodified REST client, and of the older one of Polygon."""

import json
from typing import Any

from helpers.foreign_clients import run_client
from helpers.support import PROJECT

SCRIPT = PROJECT / "tests" / "compat" / "massive" / "massive_rest_calls.py"
MASSIVE, POLYGON = ("massive", "massive==2.9.1"), ("polygon", "polygon-api-client==1.16.3")


def call(base: str, *calls: Any, key: str = "any", client: tuple[str, str] = MASSIVE) -> list[Any]:
    """Return the results of calls, each [method, arguments, keyword arguments]."""
    module, package = client
    return run_client(SCRIPT, module, f"{base}/massive", key, json.dumps(calls), packages=(package,))


def one(base: str, method: str, *arguments: Any, **keywords: Any) -> Any:
    (found,) = call(base, [method, arguments, keywords])
    return found
