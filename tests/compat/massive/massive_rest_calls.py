"""Calls methods of `massive.RESTClient`, or of the older `polygon.RESTClient`, and prints their results as JSON.

Arguments: module, base URL, key, calls as JSON: [[method, arguments, keyword arguments], …].
"""

import importlib
import json
import sys
from dataclasses import asdict, is_dataclass
from typing import Any


def plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {name: each for name, each in asdict(value).items() if each is not None}
    return value


def result(client, method, arguments, keywords):
    try:
        found = getattr(client, method)(*arguments, **keywords)
        if method.startswith("list_"):
            found = list(found)
    except Exception as error:  # the test checks it
        return {"error": type(error).__name__, "text": str(error)}
    return [plain(each) for each in found] if isinstance(found, list) else plain(found)


module, base, key, calls = sys.argv[1:]
client = importlib.import_module(module).RESTClient(key, base=base)
sys.stdout.write(json.dumps([result(client, *call) for call in json.loads(calls)]))
