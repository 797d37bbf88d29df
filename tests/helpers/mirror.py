"""A copy of closed candles that reads them once over HTTP, and then follows `/revisions`, or a stream."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from market_data.queries.intervals import INTERVALS, bucket_start

Candle = dict[str, Any]
Key = tuple[str, str]
"""Symbol and start of the bucket."""


class Mirror:
    """The closed candles of an interval and some symbols."""

    def __init__(self, client: httpx.Client, interval: str, symbols: Sequence[str], start: str) -> None:
        """Read the candles since a time as of the present, whose answer names its version."""
        self._client = client
        self.interval = interval
        self._symbols = symbols
        self._start = start
        self.candles: dict[Key, Candle] = {}
        self._read_at: dict[Key, int] = {}
        self._began = datetime.now(UTC)
        self.version = self._first = self._read({"as_of": "now"})

    def poll(self, limit: int = 1000) -> None:
        """Apply the revisions since the last poll, page by page; then read the candles that have closed meanwhile."""
        parameters = self._parameters() | {"since_version": self.version, "limit": limit}
        revisions: list[Candle] = []
        while True:
            response = self._client.get("/revisions", params=parameters)
            assert response.status_code == 200, response.text
            body = response.json()
            assert body["count"] == len(body["revisions"]) <= limit
            assert response.headers["data-version"] == str(body["version"])
            revisions += body["revisions"]
            if not body["next_page_token"]:
                break
            assert 'rel="next"' in response.headers["link"]
            parameters["page_token"] = body["next_page_token"]
        self.version = body["version"]
        for revision in revisions:
            self.apply(revision)
        # Of all buckets, as a simple client does; those that were closed before don't change by it.
        known = dict(self.candles)
        self._read({"as_of": self.version})
        assert {key: self.candles.get(key) for key in known} == known

    def apply(self, revision: dict[str, Any]) -> None:
        """Apply a revision, unless the candle was read as of a later version."""
        symbol, version = revision["symbol"], revision["version"]
        if revision["cause"] == "reload":
            self._reload(symbol, revision["start"], revision["end"], max(version, self.version))
            return
        key = symbol, revision["timestamp"]
        if version <= self._read_at.get(key, self._first):
            return
        if revision["after"]:
            self.candles[key] = revision["after"]
        else:
            self.candles.pop(key, None)

    def _reload(self, symbol: str, start: str, end: str, version: int) -> None:
        """Read again the buckets that a range touches; the one of a stream is that of its trades."""
        width = INTERVALS[self.interval]
        first = bucket_start(datetime.fromisoformat(start), self.interval, None)
        last = bucket_start(datetime.fromisoformat(end) - timedelta(microseconds=1), self.interval, None)
        for number in range((last - first) // width + 1):
            key = symbol, (first + number * width).strftime("%Y-%m-%dT%H:%M:%SZ")
            self.candles.pop(key, None)
            self._read_at[key] = version
        bounds = {"start": first.isoformat(), "end": (last + width).isoformat(), "symbols": symbol}
        self._read({"as_of": version} | bounds)

    def difference(self, version: int) -> dict[Key, tuple[Candle | None, Candle | None]]:
        """Return the candles, closed at the first read, that differ from those of the service as of a version."""
        expected = Mirror.__new__(Mirror)
        expected.__dict__ = self.__dict__ | {"candles": {}}
        expected._read({"as_of": version})
        closed = (self._began - INTERVALS[self.interval]).strftime("%Y-%m-%dT%H:%M:%SZ")
        keys = {key for key in self.candles.keys() | expected.candles.keys() if key[1] <= closed}
        pairs = {key: (self.candles.get(key), expected.candles.get(key)) for key in keys}
        return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}

    def expected(self) -> dict[Key, Candle]:
        """Return the closed candles as of the version of the copy, from the service."""
        copy = Mirror.__new__(Mirror)
        copy.__dict__ = self.__dict__ | {"candles": {}, "_read_at": {}}
        copy._read({"as_of": self.version})
        return copy.candles

    def _parameters(self) -> dict[str, Any]:
        return {"symbols": ",".join(self._symbols), "interval": self.interval}

    def _read(self, more: dict[str, Any]) -> int:
        response = self._client.get("/candles", params=self._parameters() | {"start": self._start} | more)
        assert response.status_code == 200, response.text
        found = response.json()
        assert not found["next_page_token"]
        for candle in found["candles"]:
            if candle["closed"]:
                self.candles[candle.pop("symbol"), candle["timestamp"]] = candle
        return int(response.headers["data-version"])
