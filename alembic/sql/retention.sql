-- Present text of the functions and views of retention of trades.

CREATE OR REPLACE FUNCTION retention_horizon() RETURNS timestamptz
LANGUAGE sql STABLE
AS $$
    SELECT greatest(dropped_before, now() - drop_after) FROM public.retention
$$;

CREATE OR REPLACE PROCEDURE drop_old_trades(job_id integer DEFAULT NULL, config jsonb DEFAULT NULL)
LANGUAGE plpgsql
AS $$
DECLARE
    bound timestamptz;
    dropped bigint;
BEGIN
    IF (SELECT drop_after FROM public.retention) IS NULL THEN
        RETURN;
    END IF;
    -- Shorter than the time-out of requests, which wait behind these locks while another session keeps this one waiting.
    SET LOCAL lock_timeout = '2s';
    -- A pin needs all trades of its version. The lock waits for one that is being created.
    LOCK TABLE public.pins IN SHARE MODE;
    IF EXISTS (SELECT FROM public.pins) THEN
        RETURN;
    END IF;
    -- A concurrent transaction that stores a trade has recorded it in stale_ranges before this lock, or is rejected after it.
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

CREATE OR REPLACE PROCEDURE set_retention(drop_after interval)
LANGUAGE plpgsql
AS $$
BEGIN
    UPDATE public.retention AS r SET drop_after = set_retention.drop_after;
    PERFORM public.alter_job(j.job_id, scheduled => set_retention.drop_after IS NOT NULL, next_start => now())
    FROM timescaledb_information.jobs AS j
    WHERE j.proc_schema = 'public' AND j.proc_name = 'drop_old_trades';
END
$$;
