-- Frozen: part of revision 0027, never edited.
-- Columnstore of trades and candles. A batch contains up to 1,000 rows of one symbol in one chunk, and takes some 700 bytes
-- more than its values: symbols that are seldom traded need long chunks. But a chunk stays in rows, of which a candle takes
-- 170 bytes, until all of it is old enough: the more candles a day, the shorter the chunks. The others keep their 70 days.

-- Without a Bloom filter of (time, trade_id), 1.4 bytes a trade: late trades and duplicates are stored as fast without it,
-- because the times of a batch exclude nearly all others. The minimum and maximum of trade_id are there anyway. They are named
-- because TimescaleDB 2.29.2 crashes with an empty list, in a DELETE by price.
ALTER TABLE trades SET (timescaledb.sparse_index = 'minmax(trade_id)');

SELECT set_chunk_time_interval('candles_1m', INTERVAL '28 days');
SELECT set_chunk_time_interval('candles_1w', INTERVAL '364 days');

-- At the age of trades.
SELECT alter_job(job_id, config => jsonb_set(config, '{compress_after}', '"7 days"'))
FROM timescaledb_information.jobs
WHERE proc_name = 'policy_compression' AND hypertable_name IN ('candles_1m', 'candles_5m', 'candles_15m');

ALTER MATERIALIZED VIEW candles_30m SET (
    timescaledb.enable_columnstore,
    timescaledb.segmentby = 'symbol',
    timescaledb.orderby = 'bucket DESC'
);
CALL add_columnstore_policy('candles_30m', after => INTERVAL '7 days', schedule_interval => INTERVAL '1 hour');

ALTER MATERIALIZED VIEW candles_1h SET (
    timescaledb.enable_columnstore,
    timescaledb.segmentby = 'symbol',
    timescaledb.orderby = 'bucket DESC'
);
CALL add_columnstore_policy('candles_1h', after => INTERVAL '7 days', schedule_interval => INTERVAL '1 hour');

ALTER MATERIALIZED VIEW candles_4h SET (
    timescaledb.enable_columnstore,
    timescaledb.segmentby = 'symbol',
    timescaledb.orderby = 'bucket DESC'
);
CALL add_columnstore_policy('candles_4h', after => INTERVAL '7 days', schedule_interval => INTERVAL '1 hour');

ALTER MATERIALIZED VIEW candles_1d SET (
    timescaledb.enable_columnstore,
    timescaledb.segmentby = 'symbol',
    timescaledb.orderby = 'bucket DESC'
);
CALL add_columnstore_policy('candles_1d', after => INTERVAL '7 days', schedule_interval => INTERVAL '1 hour');

ALTER MATERIALIZED VIEW candles_1w SET (
    timescaledb.enable_columnstore,
    timescaledb.segmentby = 'symbol',
    timescaledb.orderby = 'bucket DESC'
);
CALL add_columnstore_policy('candles_1w', after => INTERVAL '7 days', schedule_interval => INTERVAL '1 hour');
