"""Replay trades and bars with NautilusTrader's client, from TARDIS_MACHINE_WS_URL, and print them as JSON."""

# pyright: reportMissingImports=false
# Only the environment of the client has its package.

import asyncio
import json
import sys

from nautilus_trader.core import nautilus_pyo3 as nautilus
from nautilus_trader.model.data import capsule_to_data

first, last, *symbols = sys.argv[1:]


def options(*data_types: str) -> list[object]:
    given = {"exchange": "binance", "symbols": symbols, "from": first, "to": last, "dataTypes": data_types}
    return nautilus.ReplayNormalizedRequestOptions.from_json_array(json.dumps([given]).encode())


async def main() -> None:
    client = nautilus.TardisMachineClient()
    instruments = [
        nautilus.TardisInstrumentMiniInfo(nautilus.InstrumentId.from_str(f"{symbol}.BINANCE"), symbol, "binance", 4, 4)
        for symbol in symbols
    ]
    trades: list[dict[str, object]] = []

    def keep(capsule: object) -> None:
        trades.append(type(tick := capsule_to_data(capsule)).to_dict(tick))

    await client.replay(instruments, options("trade"), keep)
    bars = await client.replay_bars(instruments, options("trade_bar_1m"))
    sys.stdout.write(json.dumps({"trades": trades, "bars": [bar.to_dict() for bar in bars]}))


asyncio.run(main())
