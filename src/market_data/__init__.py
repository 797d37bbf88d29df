"""Market prices: trades in a TimescaleDB hypertable, candles as continuous aggregates, served over HTTP."""

from importlib.metadata import version

__version__ = version("market-data-platform")
