"""Foreign protocols: clients of other market-data services work with this one once their base URL is changed.

Each protocol has a folder, and stands in `PROTOCOLS`. Nothing outside of this package knows them: it hands their dialects to
the middlewares, and their handlers to the application.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from market_data.api.compat.alpaca import ALPACA
from market_data.api.compat.binance import BINANCE
from market_data.api.compat.massive import MASSIVE
from market_data.api.compat.protocol import Protocol
from market_data.api.compat.tardis import TARDIS
from market_data.api.compat.udf import UDF
from market_data.errors import SettingsError

PROTOCOLS: Final[Sequence[Protocol]] = (UDF, ALPACA, BINANCE, MASSIVE, TARDIS)


def selected_protocols(setting: str) -> list[Protocol]:
    """Return the protocols of COMPATIBILITY: `all`, `none`, or names between commas.

    Raises:
        SettingsError: A name is unknown.
    """
    known: Mapping[str, Protocol] = {protocol.name: protocol for protocol in PROTOCOLS}
    names = [name.strip().lower() for name in setting.split(",")]
    if names in (["all"], ["none"]):
        return [*known.values()] if names == ["all"] else []
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SettingsError(
            f"COMPATIBILITY={setting!r}: {unknown[0]!r} is no protocol; set all, none, or some of {', '.join(known)}"
        )
    return [known[name] for name in dict.fromkeys(names)]
