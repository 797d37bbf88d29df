-- Frozen: part of revision 0012, never edited. The present text of functions and views is in alembic/sql/.
-- Retention of trades. Candles are kept forever.

CREATE TABLE retention (
    drop_after interval,
    dropped_before timestamptz NOT NULL DEFAULT '-infinity',
    oldest_chunk timestamptz,
    -- Longer than refresh_candles() may look back, 3 hours, plus a bucket and a chunk of trades.
    CONSTRAINT retention_drop_after_long_enough CHECK (drop_after >= INTERVAL '8 days')
);
CREATE UNIQUE INDEX retention_one_row ON retention ((true));
INSERT INTO retention DEFAULT VALUES;

COMMENT ON TABLE retention IS 'How long trades are kept, in one row; set it with set_retention(). Candles are kept forever.';
COMMENT ON COLUMN retention.drop_after IS 'Age beyond which trades are dropped; null if they are kept forever.';
COMMENT ON COLUMN retention.dropped_before IS 'Trades older than this have been dropped, and are no longer accepted.';
COMMENT ON COLUMN retention.oldest_chunk IS
    'Start of the oldest chunk of trades when it was last looked up: if it is gone, it was dropped by hand.';

CREATE FUNCTION retention_horizon() RETURNS timestamptz
LANGUAGE sql STABLE
AS $$
    SELECT greatest(dropped_before, now() - drop_after) FROM public.retention
$$;

COMMENT ON FUNCTION retention_horizon() IS
    'Trades older than this are rejected, because other trades of their candles may have been dropped.';

-- Not the retention policy of TimescaleDB, which looks only at the age of chunks: it would also drop trades whose candles have
-- not been refreshed yet, after a long pause for example, and leave no record of the range that was dropped.
CREATE PROCEDURE drop_old_trades(job_id integer DEFAULT NULL, config jsonb DEFAULT NULL)
LANGUAGE plpgsql
AS $$
DECLARE
    bound timestamptz;
    dropped bigint;
BEGIN
    IF (SELECT drop_after FROM public.retention) IS NULL THEN
        RETURN;
    END IF;
    -- A concurrent transaction that stores a trade has recorded it in stale_ranges before this lock, or is rejected after it.
    SET LOCAL lock_timeout = '5s';
    LOCK TABLE public.trades IN SHARE ROW EXCLUSIVE MODE;
    SELECT max(range_end)
    INTO bound
    FROM timescaledb_information.chunks
    WHERE hypertable_schema = 'public' AND hypertable_name = 'trades' AND range_end <= least(
        (SELECT now() - drop_after FROM public.retention),
        coalesce(public.candles_watermark('1m'), '-infinity'),
        (SELECT min(since) FROM public.stale_ranges)
    );
    IF bound IS NOT NULL THEN
        SELECT count(*) INTO dropped FROM public.trades WHERE time < bound;
        PERFORM public.drop_chunks('public.trades', older_than => bound);
        UPDATE public.retention
        SET dropped_before = greatest(dropped_before, bound), oldest_chunk = (
            SELECT min(range_start)
            FROM timescaledb_information.chunks
            WHERE hypertable_schema = 'public' AND hypertable_name = 'trades'
        );
        -- No version: dropped trades are not cancelled, and their candles stay.
        PERFORM public.update_data_version(NULL, -dropped);
    END IF;
END
$$;

SELECT add_job('drop_old_trades', schedule_interval => INTERVAL '1 hour', scheduled => false);

COMMENT ON PROCEDURE drop_old_trades(integer, jsonb) IS
    'Drops chunks of trades that are older than retention.drop_after and materialized in candles_1m. A job runs it every hour '
    'while a retention is set.';

CREATE PROCEDURE set_retention(drop_after interval)
LANGUAGE plpgsql
AS $$
BEGIN
    UPDATE public.retention AS r SET drop_after = set_retention.drop_after;
    PERFORM public.alter_job(j.job_id, scheduled => set_retention.drop_after IS NOT NULL, next_start => now())
    FROM timescaledb_information.jobs AS j
    WHERE j.proc_schema = 'public' AND j.proc_name = 'drop_old_trades';
END
$$;

COMMENT ON PROCEDURE set_retention(interval) IS
    'Sets how long trades are kept, 8 days or more; null keeps them forever. Candles stay.';

REVOKE EXECUTE ON PROCEDURE drop_old_trades(integer, jsonb), set_retention(interval) FROM PUBLIC;
