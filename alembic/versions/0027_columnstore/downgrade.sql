-- Frozen: part of revision 0027, never edited.
CALL remove_columnstore_policy('candles_30m');
CALL remove_columnstore_policy('candles_1h');
CALL remove_columnstore_policy('candles_4h');
CALL remove_columnstore_policy('candles_1d');
CALL remove_columnstore_policy('candles_1w');

-- An aggregate leaves the columnstore with its last chunk.
SELECT decompress_chunk(format('%I.%I', chunk.chunk_schema, chunk.chunk_name)::regclass)
FROM timescaledb_information.chunks AS chunk
JOIN timescaledb_information.continuous_aggregates AS aggregate
    ON (chunk.hypertable_schema, chunk.hypertable_name)
        = (aggregate.materialization_hypertable_schema, aggregate.materialization_hypertable_name)
WHERE chunk.is_compressed AND aggregate.view_name IN ('candles_30m', 'candles_1h', 'candles_4h', 'candles_1d', 'candles_1w');

ALTER MATERIALIZED VIEW candles_30m SET (timescaledb.enable_columnstore = false);
ALTER MATERIALIZED VIEW candles_1h SET (timescaledb.enable_columnstore = false);
ALTER MATERIALIZED VIEW candles_4h SET (timescaledb.enable_columnstore = false);
ALTER MATERIALIZED VIEW candles_1d SET (timescaledb.enable_columnstore = false);
ALTER MATERIALIZED VIEW candles_1w SET (timescaledb.enable_columnstore = false);

SELECT alter_job(
    job_id,
    config => jsonb_set(
        config, '{compress_after}', CASE hypertable_name WHEN 'candles_1m' THEN '"30 days"' ELSE '"90 days"' END::jsonb
    )
)
FROM timescaledb_information.jobs
WHERE proc_name = 'policy_compression' AND hypertable_name IN ('candles_1m', 'candles_5m', 'candles_15m');

SELECT set_chunk_time_interval('candles_1m', INTERVAL '70 days');
SELECT set_chunk_time_interval('candles_1w', INTERVAL '70 days');

ALTER TABLE trades RESET (timescaledb.sparse_index);
