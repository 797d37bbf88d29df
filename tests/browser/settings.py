"""Settings of the services whose pages the tests open."""

from typing import Any

from market_data.settings import Settings


def page_settings(database_url: str, assets: str, **others: Any) -> Settings:
    """Return settings without a feed."""
    return Settings(**{"database_url": database_url, "feed_enabled": False, "docs_assets": assets, **others})
