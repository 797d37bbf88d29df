"""How long trades are kept: shown, or set."""

from datetime import datetime, timedelta

from market_data.cli.console import output
from market_data.cli.data import statements
from market_data.cli.durations import format_long
from market_data.database.connection import connect


async def show_retention(database_url: str) -> int:
    """Tell the setting, and how far back trades go."""
    async with await connect(database_url, 0) as connection:
        setting = await statements.retention(connection)
    if setting.drop_after is None:
        output("trades are kept for ever")
    else:
        output(f"trades older than {format_long(setting.drop_after)} are dropped within the hour; candles stay")
    output(f"trades go back to {_date(setting.earliest)}" if setting.earliest else "there are no trades")
    if setting.dropped_before:
        output(f"trades before {_date(setting.dropped_before)} have been dropped, and are not taken any more")
    return 0


async def set_retention(database_url: str, drop_after: timedelta | None) -> int:
    """Set it: None keeps trades for ever."""
    async with await connect(database_url, 0) as connection:
        await statements.set_retention(connection, drop_after)
    return await show_retention(database_url)


def _date(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")
