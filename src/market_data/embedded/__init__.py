"""Embedded database engine: TimescaleDB compiled to WebAssembly, in a Node.js process. README.md lists its limits.

`owned_engine` starts and stops an engine, `attached_engine` uses the running one; both yield a DSN. `node_modules` is the
folder of the npm packages, which include the scripts of the documentation pages.
"""

from market_data.embedded.engine import attached_engine, owned_engine
from market_data.embedded.errors import EmbeddedUnavailable, EngineBusy, EngineError
from market_data.embedded.packages import node_modules

__all__ = [
    "EmbeddedUnavailable",
    "EngineBusy",
    "EngineError",
    "attached_engine",
    "node_modules",
    "owned_engine",
]
