-- Frozen: part of revision 0012, never edited.
-- Back to an empty database. The extension, the role analyst (other databases may use it) and Alembic's own table stay.

ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE SELECT ON TABLES FROM analyst;
REVOKE SELECT ON ALL TABLES IN SCHEMA public FROM analyst;
REVOKE USAGE ON SCHEMA public FROM analyst;
DO $$
BEGIN
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO PUBLIC', current_database());
    EXECUTE format('REVOKE CONNECT ON DATABASE %I FROM analyst', current_database());
    EXECUTE format('ALTER ROLE analyst IN DATABASE %I RESET ALL', current_database());
EXCEPTION
    WHEN insufficient_privilege THEN NULL;
END
$$;

SELECT delete_job(job_id)
FROM timescaledb_information.jobs
WHERE proc_schema = 'public' AND proc_name IN ('refresh_candles', 'drop_old_trades', 'trim_stream');

DROP TABLE api_keys;
DROP VIEW candles;
DROP MATERIALIZED VIEW candles_1w;
DROP MATERIALIZED VIEW candles_1d;
DROP MATERIALIZED VIEW candles_4h;
DROP MATERIALIZED VIEW candles_1h;
DROP MATERIALIZED VIEW candles_30m;
DROP MATERIALIZED VIEW candles_15m;
DROP MATERIALIZED VIEW candles_5m;
DROP MATERIALIZED VIEW candles_1m;
DROP VIEW latest_prices;
DROP TABLE trades;
DROP TABLE latest_trades, stale_ranges, leases, retention, trade_changes, symbols;
DROP TABLE stream_events, stream_late_candles, stream_progress;
DROP TABLE commits;
DROP TABLE commit_blocks, data_version, pending_commits, stream_commit_lock;
DROP PROCEDURE refresh_candles(integer, jsonb);
DROP PROCEDURE drop_old_trades(integer, jsonb);
DROP PROCEDURE set_retention(interval);
DROP PROCEDURE trim_stream(integer, jsonb);
DROP FUNCTION candles_watermark(text), retention_horizon(), newest_version(), recount_trades();
DROP FUNCTION update_data_version(bigint, bigint), number_commit();
DROP FUNCTION trades_numbered(), trades_corrected(), trades_stored(), trades_changed(), trades_truncated();
DROP FUNCTION trades_audited(), trades_recorded(), trades_streamed(), trades_revised();
DROP FUNCTION advance_stream(), stream_is_late(timestamptz, timestamptz);
DROP SEQUENCE write_ids, versions, commit_clock;
