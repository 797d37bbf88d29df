"""Jobs that the migrations create, with the statement that creates each."""

from collections.abc import Mapping

# Interval, length of its bucket, how often it is refreshed; as in the revisions 0012 and 0013.
_REFRESHED = (
    ("5m", "5 minutes", "5 minutes"),
    ("15m", "15 minutes", "15 minutes"),
    ("30m", "30 minutes", "30 minutes"),
    ("1h", "1 hour", "30 minutes"),
    ("4h", "4 hours", "1 hour"),
    ("1d", "1 day", "1 hour"),
    ("1w", "7 days", "1 hour"),
)
_CONVERTED = ("trades", "candles_1m", *(f"candles_{interval}" for interval, *_ in _REFRESHED))

EXPECTED: Mapping[tuple[str, str], str] = {
    ("refresh_candles", ""): (
        "SELECT alter_job(add_job('refresh_candles', INTERVAL '3 seconds', "
        """config => '{"buckets": 1440, "budget": "1 second"}'), retry_period => INTERVAL '3 seconds')"""
    ),
    ("trim_stream", ""): "SELECT add_job('trim_stream', INTERVAL '5 minutes')",
    ("drop_old_trades", ""): "SELECT add_job('drop_old_trades', INTERVAL '1 hour'), then `market-data retention` sets it",
    **{
        ("policy_refresh_continuous_aggregate", f"candles_{interval}"): (
            f"SELECT add_continuous_aggregate_policy('candles_{interval}', NULL, INTERVAL '{bucket}', "
            f"INTERVAL '{schedule}', buckets_per_batch => 0)"
        )
        for interval, bucket, schedule in _REFRESHED
    },
    **{
        ("policy_compression", table): (
            f"CALL add_columnstore_policy('{table}', after => INTERVAL '7 days', schedule_interval => INTERVAL '1 hour')"
        )
        for table in _CONVERTED
    },
    ("policy_compression", "commits"): (
        "CALL add_columnstore_policy('commits', after => BIGINT '100000', schedule_interval => INTERVAL '1 hour')"
    ),
}
"""Statement that creates the job, by procedure and table."""
