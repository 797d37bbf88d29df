-- Present text of the functions and views of candles.

CREATE OR REPLACE FUNCTION candles_watermark("interval" text) RETURNS timestamptz
LANGUAGE sql STABLE
AS $$
    SELECT found.watermark
    FROM _timescaledb_catalog.continuous_agg
    CROSS JOIN LATERAL _timescaledb_functions.to_timestamp(
        _timescaledb_functions.cagg_watermark(mat_hypertable_id)
    ) AS found (watermark)
    WHERE user_view_schema = 'public' AND user_view_name = 'candles_' || "interval"
        AND found.watermark > '0001-01-01 00:00:00Z'
$$;

CREATE MATERIALIZED VIEW candles_1m
WITH (
    timescaledb.continuous,
    timescaledb.materialized_only = false,
    timescaledb.create_group_indexes = true
) AS
SELECT
    symbol,
    time_bucket(INTERVAL '1 minute', time) AS bucket,
    first(price, time ORDER BY trade_id) AS open,
    max(price) AS high,
    min(price) AS low,
    last(price, time ORDER BY trade_id DESC) AS close,
    sum(volume) AS volume,
    sum(price * volume) AS turnover,
    count(*) AS trade_count,
    max(write_id) AS write_id
FROM trades
GROUP BY symbol, time_bucket(INTERVAL '1 minute', time)
WITH NO DATA;

CREATE MATERIALIZED VIEW candles_5m
WITH (
    timescaledb.continuous,
    timescaledb.materialized_only = false,
    timescaledb.create_group_indexes = true
) AS
SELECT
    symbol,
    time_bucket(INTERVAL '5 minutes', bucket) AS bucket,
    first(open, bucket) AS open,
    max(high) AS high,
    min(low) AS low,
    last(close, bucket) AS close,
    sum(volume) AS volume,
    sum(turnover) AS turnover,
    sum(trade_count)::bigint AS trade_count,
    max(write_id) AS write_id
FROM candles_1m
GROUP BY symbol, time_bucket(INTERVAL '5 minutes', bucket)
WITH NO DATA;

CREATE MATERIALIZED VIEW candles_15m
WITH (
    timescaledb.continuous,
    timescaledb.materialized_only = false,
    timescaledb.create_group_indexes = true
) AS
SELECT
    symbol,
    time_bucket(INTERVAL '15 minutes', bucket) AS bucket,
    first(open, bucket) AS open,
    max(high) AS high,
    min(low) AS low,
    last(close, bucket) AS close,
    sum(volume) AS volume,
    sum(turnover) AS turnover,
    sum(trade_count)::bigint AS trade_count,
    max(write_id) AS write_id
FROM candles_5m
GROUP BY symbol, time_bucket(INTERVAL '15 minutes', bucket)
WITH NO DATA;

CREATE MATERIALIZED VIEW candles_30m
WITH (
    timescaledb.continuous,
    timescaledb.materialized_only = false,
    timescaledb.create_group_indexes = true
) AS
SELECT
    symbol,
    time_bucket(INTERVAL '30 minutes', bucket) AS bucket,
    first(open, bucket) AS open,
    max(high) AS high,
    min(low) AS low,
    last(close, bucket) AS close,
    sum(volume) AS volume,
    sum(turnover) AS turnover,
    sum(trade_count)::bigint AS trade_count,
    max(write_id) AS write_id
FROM candles_15m
GROUP BY symbol, time_bucket(INTERVAL '30 minutes', bucket)
WITH NO DATA;

CREATE MATERIALIZED VIEW candles_1h
WITH (
    timescaledb.continuous,
    timescaledb.materialized_only = false,
    timescaledb.create_group_indexes = true
) AS
SELECT
    symbol,
    time_bucket(INTERVAL '1 hour', bucket) AS bucket,
    first(open, bucket) AS open,
    max(high) AS high,
    min(low) AS low,
    last(close, bucket) AS close,
    sum(volume) AS volume,
    sum(turnover) AS turnover,
    sum(trade_count)::bigint AS trade_count,
    max(write_id) AS write_id
FROM candles_30m
GROUP BY symbol, time_bucket(INTERVAL '1 hour', bucket)
WITH NO DATA;

CREATE MATERIALIZED VIEW candles_4h
WITH (
    timescaledb.continuous,
    timescaledb.materialized_only = false,
    timescaledb.create_group_indexes = true
) AS
SELECT
    symbol,
    time_bucket(INTERVAL '4 hours', bucket) AS bucket,
    first(open, bucket) AS open,
    max(high) AS high,
    min(low) AS low,
    last(close, bucket) AS close,
    sum(volume) AS volume,
    sum(turnover) AS turnover,
    sum(trade_count)::bigint AS trade_count,
    max(write_id) AS write_id
FROM candles_1h
GROUP BY symbol, time_bucket(INTERVAL '4 hours', bucket)
WITH NO DATA;

CREATE MATERIALIZED VIEW candles_1d
WITH (
    timescaledb.continuous,
    timescaledb.materialized_only = false,
    timescaledb.create_group_indexes = true
) AS
SELECT
    symbol,
    time_bucket(INTERVAL '1 day', bucket) AS bucket,
    first(open, bucket) AS open,
    max(high) AS high,
    min(low) AS low,
    last(close, bucket) AS close,
    sum(volume) AS volume,
    sum(turnover) AS turnover,
    sum(trade_count)::bigint AS trade_count,
    max(write_id) AS write_id
FROM candles_4h
GROUP BY symbol, time_bucket(INTERVAL '1 day', bucket)
WITH NO DATA;

CREATE MATERIALIZED VIEW candles_1w
WITH (
    timescaledb.continuous,
    timescaledb.materialized_only = false,
    timescaledb.create_group_indexes = true
) AS
SELECT
    symbol,
    time_bucket(INTERVAL '7 days', bucket) AS bucket,
    first(open, bucket) AS open,
    max(high) AS high,
    min(low) AS low,
    last(close, bucket) AS close,
    sum(volume) AS volume,
    sum(turnover) AS turnover,
    sum(trade_count)::bigint AS trade_count,
    max(write_id) AS write_id
FROM candles_1d
GROUP BY symbol, time_bucket(INTERVAL '7 days', bucket)
WITH NO DATA;

CREATE OR REPLACE FUNCTION stale_times(level integer) RETURNS tstzmultirange
LANGUAGE sql STABLE
AS $$
    -- Later candles are not materialized, so they are computed from trades.
    SELECT coalesce(range_agg(tstzrange(since, until, '[]')), '{}') * (
        SELECT tstzmultirange(tstzrange(NULL, greatest(
            to_timestamp(0) + last_value * INTERVAL '1 microsecond',
            public.candles_watermark((ARRAY['1m', '5m', '15m', '30m', '1h', '4h', '1d', '1w'])[stale_times.level])
        )))
        FROM public.refreshed_until
    )
    FROM public.stale_ranges
    WHERE stale_ranges.level <= stale_times.level
$$;

CREATE OR REPLACE VIEW candles AS
SELECT
    '1m'::text AS "interval", symbol, bucket, open, high, low, close, volume,
    turnover / nullif(volume, 0) AS vwap, turnover, trade_count,
    bucket + INTERVAL '1 minute' <= now() AS closed, write_id,
    NOT tstzrange(bucket, bucket + INTERVAL '1 minute') && (SELECT stale_times(1)) AS settled
FROM candles_1m
UNION ALL
SELECT
    '5m'::text AS "interval", symbol, bucket, open, high, low, close, volume,
    turnover / nullif(volume, 0) AS vwap, turnover, trade_count,
    bucket + INTERVAL '5 minutes' <= now() AS closed, write_id,
    NOT tstzrange(bucket, bucket + INTERVAL '5 minutes') && (SELECT stale_times(2)) AS settled
FROM candles_5m
UNION ALL
SELECT
    '15m'::text AS "interval", symbol, bucket, open, high, low, close, volume,
    turnover / nullif(volume, 0) AS vwap, turnover, trade_count,
    bucket + INTERVAL '15 minutes' <= now() AS closed, write_id,
    NOT tstzrange(bucket, bucket + INTERVAL '15 minutes') && (SELECT stale_times(3)) AS settled
FROM candles_15m
UNION ALL
SELECT
    '30m'::text AS "interval", symbol, bucket, open, high, low, close, volume,
    turnover / nullif(volume, 0) AS vwap, turnover, trade_count,
    bucket + INTERVAL '30 minutes' <= now() AS closed, write_id,
    NOT tstzrange(bucket, bucket + INTERVAL '30 minutes') && (SELECT stale_times(4)) AS settled
FROM candles_30m
UNION ALL
SELECT
    '1h'::text AS "interval", symbol, bucket, open, high, low, close, volume,
    turnover / nullif(volume, 0) AS vwap, turnover, trade_count,
    bucket + INTERVAL '1 hour' <= now() AS closed, write_id,
    NOT tstzrange(bucket, bucket + INTERVAL '1 hour') && (SELECT stale_times(5)) AS settled
FROM candles_1h
UNION ALL
SELECT
    '4h'::text AS "interval", symbol, bucket, open, high, low, close, volume,
    turnover / nullif(volume, 0) AS vwap, turnover, trade_count,
    bucket + INTERVAL '4 hours' <= now() AS closed, write_id,
    NOT tstzrange(bucket, bucket + INTERVAL '4 hours') && (SELECT stale_times(6)) AS settled
FROM candles_4h
UNION ALL
SELECT
    '1d'::text AS "interval", symbol, bucket, open, high, low, close, volume,
    turnover / nullif(volume, 0) AS vwap, turnover, trade_count,
    bucket + INTERVAL '1 day' <= now() AS closed, write_id,
    NOT tstzrange(bucket, bucket + INTERVAL '1 day') && (SELECT stale_times(7)) AS settled
FROM candles_1d
UNION ALL
SELECT
    '1w'::text AS "interval", symbol, bucket, open, high, low, close, volume,
    turnover / nullif(volume, 0) AS vwap, turnover, trade_count,
    bucket + INTERVAL '7 days' <= now() AS closed, write_id,
    NOT tstzrange(bucket, bucket + INTERVAL '7 days') && (SELECT stale_times(8)) AS settled
FROM candles_1w;
