"""Settings of the services whose pages the tests open."""

from typing import Any

import msgspec
from helpers.support import patient

from market_data.settings import Settings


def page_settings(database_url: str, assets: str, **others: Any) -> Settings:
    """Return settings without a feed, and with long time-outs: a page would report an error of a busy machine."""
    given = {"database_url": database_url, "feed_enabled": False, "docs_assets": assets, **others}
    return msgspec.structs.replace(patient(Settings()), **given)
