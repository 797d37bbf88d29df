-- Frozen: part of revision 0012, never edited. The present text of functions and views is in alembic/sql/.
-- Candles of every interval: real-time continuous aggregates, each built on the next finer one.

CREATE FUNCTION candles_watermark("interval" text) RETURNS timestamptz
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

COMMENT ON FUNCTION candles_watermark(text) IS
    'Time up to which the candles of an interval are materialized, null if none are; later ones are computed when read.';

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

COMMENT ON VIEW candles_1m IS
    'Candles of one minute (UTC), the open one included: a real-time continuous aggregate over trades. A late trade, whose bucket '
    'is already materialized, shows within seconds.';
COMMENT ON COLUMN candles_1m.symbol IS 'Traded symbol.';
COMMENT ON COLUMN candles_1m.bucket IS 'Start of the minute; it ends where the next one starts.';
COMMENT ON COLUMN candles_1m.open IS 'Price of the first trade (by time, then trade_id).';
COMMENT ON COLUMN candles_1m.high IS 'Highest price.';
COMMENT ON COLUMN candles_1m.low IS 'Lowest price.';
COMMENT ON COLUMN candles_1m.close IS 'Price of the last trade (by time, then trade_id).';
COMMENT ON COLUMN candles_1m.volume IS 'Units traded.';
COMMENT ON COLUMN candles_1m.turnover IS 'Sum of price times volume; divided by volume it is the vwap, exactly.';
COMMENT ON COLUMN candles_1m.trade_count IS 'Number of trades.';
COMMENT ON COLUMN candles_1m.write_id IS 'Greatest write_id of the trades.';

-- The refresh policies of the coarser levels start at the first candle (start_offset NULL): a refresh recomputes only what
-- changed, and the candles that they read are kept forever, so no pause of the database, however long, leaves a gap. Trades
-- may be dropped, so candles_1m has no policy but the job refresh_candles.
-- In one batch (buckets_per_batch 0): cut into batches, the first refresh of a table whose only trades are newer than the
-- window took 3 s on a server and 31 s on the embedded engine, against 14 ms.

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

SELECT add_continuous_aggregate_policy(
    'candles_5m',
    start_offset => NULL,
    end_offset => INTERVAL '5 minutes',
    schedule_interval => INTERVAL '5 minutes',
    buckets_per_batch => 0
);

COMMENT ON VIEW candles_5m IS
    'Candles of 5 minutes (UTC), the open one included: a real-time continuous aggregate over candles_1m.';
COMMENT ON COLUMN candles_5m.symbol IS 'Traded symbol.';
COMMENT ON COLUMN candles_5m.bucket IS 'Start of the bucket; it ends where the next one starts.';
COMMENT ON COLUMN candles_5m.open IS 'Price of the first trade (by time, then trade_id).';
COMMENT ON COLUMN candles_5m.high IS 'Highest price.';
COMMENT ON COLUMN candles_5m.low IS 'Lowest price.';
COMMENT ON COLUMN candles_5m.close IS 'Price of the last trade (by time, then trade_id).';
COMMENT ON COLUMN candles_5m.volume IS 'Units traded.';
COMMENT ON COLUMN candles_5m.turnover IS 'Sum of price times volume; divided by volume it is the vwap, exactly.';
COMMENT ON COLUMN candles_5m.trade_count IS 'Number of trades.';
COMMENT ON COLUMN candles_5m.write_id IS 'Greatest write_id of the trades.';

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

SELECT add_continuous_aggregate_policy(
    'candles_15m',
    start_offset => NULL,
    end_offset => INTERVAL '15 minutes',
    schedule_interval => INTERVAL '15 minutes',
    buckets_per_batch => 0
);

COMMENT ON VIEW candles_15m IS
    'Candles of 15 minutes (UTC), the open one included: a real-time continuous aggregate over candles_5m.';
COMMENT ON COLUMN candles_15m.symbol IS 'Traded symbol.';
COMMENT ON COLUMN candles_15m.bucket IS 'Start of the bucket; it ends where the next one starts.';
COMMENT ON COLUMN candles_15m.open IS 'Price of the first trade (by time, then trade_id).';
COMMENT ON COLUMN candles_15m.high IS 'Highest price.';
COMMENT ON COLUMN candles_15m.low IS 'Lowest price.';
COMMENT ON COLUMN candles_15m.close IS 'Price of the last trade (by time, then trade_id).';
COMMENT ON COLUMN candles_15m.volume IS 'Units traded.';
COMMENT ON COLUMN candles_15m.turnover IS 'Sum of price times volume; divided by volume it is the vwap, exactly.';
COMMENT ON COLUMN candles_15m.trade_count IS 'Number of trades.';
COMMENT ON COLUMN candles_15m.write_id IS 'Greatest write_id of the trades.';

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

SELECT add_continuous_aggregate_policy(
    'candles_30m',
    start_offset => NULL,
    end_offset => INTERVAL '30 minutes',
    schedule_interval => INTERVAL '30 minutes',
    buckets_per_batch => 0
);

COMMENT ON VIEW candles_30m IS
    'Candles of 30 minutes (UTC), the open one included: a real-time continuous aggregate over candles_15m.';
COMMENT ON COLUMN candles_30m.symbol IS 'Traded symbol.';
COMMENT ON COLUMN candles_30m.bucket IS 'Start of the bucket; it ends where the next one starts.';
COMMENT ON COLUMN candles_30m.open IS 'Price of the first trade (by time, then trade_id).';
COMMENT ON COLUMN candles_30m.high IS 'Highest price.';
COMMENT ON COLUMN candles_30m.low IS 'Lowest price.';
COMMENT ON COLUMN candles_30m.close IS 'Price of the last trade (by time, then trade_id).';
COMMENT ON COLUMN candles_30m.volume IS 'Units traded.';
COMMENT ON COLUMN candles_30m.turnover IS 'Sum of price times volume; divided by volume it is the vwap, exactly.';
COMMENT ON COLUMN candles_30m.trade_count IS 'Number of trades.';
COMMENT ON COLUMN candles_30m.write_id IS 'Greatest write_id of the trades.';

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

SELECT add_continuous_aggregate_policy(
    'candles_1h',
    start_offset => NULL,
    end_offset => INTERVAL '1 hour',
    schedule_interval => INTERVAL '30 minutes',
    buckets_per_batch => 0
);

COMMENT ON VIEW candles_1h IS
    'Candles of 1 hour (UTC), the open one included: a real-time continuous aggregate over candles_30m.';
COMMENT ON COLUMN candles_1h.symbol IS 'Traded symbol.';
COMMENT ON COLUMN candles_1h.bucket IS 'Start of the bucket; it ends where the next one starts.';
COMMENT ON COLUMN candles_1h.open IS 'Price of the first trade (by time, then trade_id).';
COMMENT ON COLUMN candles_1h.high IS 'Highest price.';
COMMENT ON COLUMN candles_1h.low IS 'Lowest price.';
COMMENT ON COLUMN candles_1h.close IS 'Price of the last trade (by time, then trade_id).';
COMMENT ON COLUMN candles_1h.volume IS 'Units traded.';
COMMENT ON COLUMN candles_1h.turnover IS 'Sum of price times volume; divided by volume it is the vwap, exactly.';
COMMENT ON COLUMN candles_1h.trade_count IS 'Number of trades.';
COMMENT ON COLUMN candles_1h.write_id IS 'Greatest write_id of the trades.';

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

SELECT add_continuous_aggregate_policy(
    'candles_4h',
    start_offset => NULL,
    end_offset => INTERVAL '4 hours',
    schedule_interval => INTERVAL '1 hour',
    buckets_per_batch => 0
);

COMMENT ON VIEW candles_4h IS
    'Candles of 4 hours (UTC), the open one included: a real-time continuous aggregate over candles_1h.';
COMMENT ON COLUMN candles_4h.symbol IS 'Traded symbol.';
COMMENT ON COLUMN candles_4h.bucket IS 'Start of the bucket; it ends where the next one starts.';
COMMENT ON COLUMN candles_4h.open IS 'Price of the first trade (by time, then trade_id).';
COMMENT ON COLUMN candles_4h.high IS 'Highest price.';
COMMENT ON COLUMN candles_4h.low IS 'Lowest price.';
COMMENT ON COLUMN candles_4h.close IS 'Price of the last trade (by time, then trade_id).';
COMMENT ON COLUMN candles_4h.volume IS 'Units traded.';
COMMENT ON COLUMN candles_4h.turnover IS 'Sum of price times volume; divided by volume it is the vwap, exactly.';
COMMENT ON COLUMN candles_4h.trade_count IS 'Number of trades.';
COMMENT ON COLUMN candles_4h.write_id IS 'Greatest write_id of the trades.';

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

SELECT add_continuous_aggregate_policy(
    'candles_1d',
    start_offset => NULL,
    end_offset => INTERVAL '1 day',
    schedule_interval => INTERVAL '1 hour',
    buckets_per_batch => 0
);

COMMENT ON VIEW candles_1d IS
    'Candles of 1 day (UTC), the open one included: a real-time continuous aggregate over candles_4h.';
COMMENT ON COLUMN candles_1d.symbol IS 'Traded symbol.';
COMMENT ON COLUMN candles_1d.bucket IS 'Start of the bucket; it ends where the next one starts.';
COMMENT ON COLUMN candles_1d.open IS 'Price of the first trade (by time, then trade_id).';
COMMENT ON COLUMN candles_1d.high IS 'Highest price.';
COMMENT ON COLUMN candles_1d.low IS 'Lowest price.';
COMMENT ON COLUMN candles_1d.close IS 'Price of the last trade (by time, then trade_id).';
COMMENT ON COLUMN candles_1d.volume IS 'Units traded.';
COMMENT ON COLUMN candles_1d.turnover IS 'Sum of price times volume; divided by volume it is the vwap, exactly.';
COMMENT ON COLUMN candles_1d.trade_count IS 'Number of trades.';
COMMENT ON COLUMN candles_1d.write_id IS 'Greatest write_id of the trades.';

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

SELECT add_continuous_aggregate_policy(
    'candles_1w',
    start_offset => NULL,
    end_offset => INTERVAL '7 days',
    schedule_interval => INTERVAL '1 hour',
    buckets_per_batch => 0
);

COMMENT ON VIEW candles_1w IS
    'Candles of 7 days (UTC, from Monday), the open one included: a real-time continuous aggregate over candles_1d.';
COMMENT ON COLUMN candles_1w.symbol IS 'Traded symbol.';
COMMENT ON COLUMN candles_1w.bucket IS 'Start of the bucket; it ends where the next one starts.';
COMMENT ON COLUMN candles_1w.open IS 'Price of the first trade (by time, then trade_id).';
COMMENT ON COLUMN candles_1w.high IS 'Highest price.';
COMMENT ON COLUMN candles_1w.low IS 'Lowest price.';
COMMENT ON COLUMN candles_1w.close IS 'Price of the last trade (by time, then trade_id).';
COMMENT ON COLUMN candles_1w.volume IS 'Units traded.';
COMMENT ON COLUMN candles_1w.turnover IS 'Sum of price times volume; divided by volume it is the vwap, exactly.';
COMMENT ON COLUMN candles_1w.trade_count IS 'Number of trades.';
COMMENT ON COLUMN candles_1w.write_id IS 'Greatest write_id of the trades.';

CREATE VIEW candles AS
SELECT
    '1m'::text AS "interval", symbol, bucket, open, high, low, close, volume,
    turnover / nullif(volume, 0) AS vwap, turnover, trade_count,
    bucket + INTERVAL '1 minute' <= now() AS closed, write_id
FROM candles_1m
UNION ALL
SELECT
    '5m'::text AS "interval", symbol, bucket, open, high, low, close, volume,
    turnover / nullif(volume, 0) AS vwap, turnover, trade_count,
    bucket + INTERVAL '5 minutes' <= now() AS closed, write_id
FROM candles_5m
UNION ALL
SELECT
    '15m'::text AS "interval", symbol, bucket, open, high, low, close, volume,
    turnover / nullif(volume, 0) AS vwap, turnover, trade_count,
    bucket + INTERVAL '15 minutes' <= now() AS closed, write_id
FROM candles_15m
UNION ALL
SELECT
    '30m'::text AS "interval", symbol, bucket, open, high, low, close, volume,
    turnover / nullif(volume, 0) AS vwap, turnover, trade_count,
    bucket + INTERVAL '30 minutes' <= now() AS closed, write_id
FROM candles_30m
UNION ALL
SELECT
    '1h'::text AS "interval", symbol, bucket, open, high, low, close, volume,
    turnover / nullif(volume, 0) AS vwap, turnover, trade_count,
    bucket + INTERVAL '1 hour' <= now() AS closed, write_id
FROM candles_1h
UNION ALL
SELECT
    '4h'::text AS "interval", symbol, bucket, open, high, low, close, volume,
    turnover / nullif(volume, 0) AS vwap, turnover, trade_count,
    bucket + INTERVAL '4 hours' <= now() AS closed, write_id
FROM candles_4h
UNION ALL
SELECT
    '1d'::text AS "interval", symbol, bucket, open, high, low, close, volume,
    turnover / nullif(volume, 0) AS vwap, turnover, trade_count,
    bucket + INTERVAL '1 day' <= now() AS closed, write_id
FROM candles_1d
UNION ALL
SELECT
    '1w'::text AS "interval", symbol, bucket, open, high, low, close, volume,
    turnover / nullif(volume, 0) AS vwap, turnover, trade_count,
    bucket + INTERVAL '7 days' <= now() AS closed, write_id
FROM candles_1w;

COMMENT ON VIEW candles IS
    'Candles of all intervals in one view. Query it with an interval, which prunes it to one aggregate, a symbol and a range of '
    'buckets.';
COMMENT ON COLUMN candles."interval" IS 'Length of the bucket: 1m, 5m, 15m, 30m, 1h, 4h, 1d, 1w.';
COMMENT ON COLUMN candles.symbol IS 'Traded symbol.';
COMMENT ON COLUMN candles.bucket IS 'Start of the bucket (UTC; weeks from Monday).';
COMMENT ON COLUMN candles.open IS 'Price of the first trade (by time, then trade_id).';
COMMENT ON COLUMN candles.high IS 'Highest price.';
COMMENT ON COLUMN candles.low IS 'Lowest price.';
COMMENT ON COLUMN candles.close IS 'Price of the last trade (by time, then trade_id).';
COMMENT ON COLUMN candles.volume IS 'Units traded.';
COMMENT ON COLUMN candles.vwap IS 'Volume-weighted average price: turnover divided by volume, null if the volume is 0.';
COMMENT ON COLUMN candles.turnover IS 'Sum of price times volume, exact.';
COMMENT ON COLUMN candles.trade_count IS 'Number of trades.';
COMMENT ON COLUMN candles.closed IS 'True if the bucket has ended; only late, corrected or cancelled trades change its candle then.';
COMMENT ON COLUMN candles.write_id IS 'Greatest write_id of the trades.';

-- Columnstore of the fine levels. TimescaleDB 2.23 adds a columnstore policy only to an aggregate that has a refresh policy,
-- so candles_1m gets one for a moment.
SELECT add_continuous_aggregate_policy(
    'candles_1m',
    start_offset => INTERVAL '3 hours',
    end_offset => INTERVAL '1 minute',
    schedule_interval => INTERVAL '1 minute'
);

ALTER MATERIALIZED VIEW candles_1m SET (
    timescaledb.enable_columnstore,
    timescaledb.segmentby = 'symbol',
    timescaledb.orderby = 'bucket DESC'
);
CALL add_columnstore_policy('candles_1m', after => INTERVAL '30 days', schedule_interval => INTERVAL '1 hour');

ALTER MATERIALIZED VIEW candles_5m SET (
    timescaledb.enable_columnstore,
    timescaledb.segmentby = 'symbol',
    timescaledb.orderby = 'bucket DESC'
);
CALL add_columnstore_policy('candles_5m', after => INTERVAL '90 days', schedule_interval => INTERVAL '1 hour');

ALTER MATERIALIZED VIEW candles_15m SET (
    timescaledb.enable_columnstore,
    timescaledb.segmentby = 'symbol',
    timescaledb.orderby = 'bucket DESC'
);
CALL add_columnstore_policy('candles_15m', after => INTERVAL '90 days', schedule_interval => INTERVAL '1 hour');

SELECT remove_continuous_aggregate_policy('candles_1m');
