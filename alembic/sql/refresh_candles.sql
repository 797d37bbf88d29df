-- Present text of the functions and views of the job that refreshes candles.

CREATE OR REPLACE PROCEDURE refresh_candles(job_id integer DEFAULT NULL, config jsonb DEFAULT NULL)
LANGUAGE plpgsql
-- No SET search_path, which would forbid transaction control in the procedure.
AS $$
-- First the minutes that have closed, then the stale ranges, level by level: a level is read through the finer ones, which
-- would be computed from trades again and again while they are not materialized. A range moves to the next level in the
-- transaction that ends its refresh, so the next run continues after an interrupted one.
--
-- force => true, because the invalidation log of TimescaleDB is not enough: a refresh that fails halfway, for example because
-- of the columnstore policy, has used it up, and COPY into trades logs nothing (2.29.2).
--
-- buckets_per_batch 0: cut into batches, the first refresh of a table whose only trades are newer than the window took 3 s on
-- a server and 31 s on the embedded engine, against 14 ms.
--
-- enable_seqscan off: the filter of a sequential scan evaluates the watermark for each trade, an index scan once. The 5-minute
-- candles of 270,000 trades take 0.8 s instead of 13.
--
-- Loops over arrays, and a COMMIT after each refresh: inside the loop of a query, or without the COMMIT, TimescaleDB 2.23
-- doesn't see what the previous refresh has stored.
DECLARE
    intervals constant text[] := ARRAY['1m', '5m', '15m', '30m', '1h', '4h', '1d', '1w'];
    buckets constant interval[] := ARRAY[
        '1 minute', '5 minutes', '15 minutes', '30 minutes', '1 hour', '4 hours', '1 day', '7 days'
    ];
    max_buckets constant integer := coalesce((config->>'buckets')::integer, 10080);
    -- A run of the job ends when it is beyond its budget, because the embedded engine does nothing else meanwhile.
    deadline constant timestamptz := clock_timestamp() + (config->>'budget')::interval;
    seqscan constant text := current_setting('enable_seqscan');
    chunks_dropped boolean;
    step integer;
    bucket interval;
    origin timestamptz;
    closed timestamptz;
    watermark timestamptz;
    seen bigint[];
    stale tstzmultirange;
    gap tstzrange;
    from_time timestamptz;
    to_time timestamptz;
BEGIN
    -- One run at a time, because two refreshes of one range fail: a job skips its run, a command waits.
    IF job_id IS NULL THEN
        PERFORM pg_advisory_lock(7164051127);
    ELSIF NOT pg_try_advisory_lock(7164051127) THEN
        RETURN;
    END IF;
    PERFORM set_config('enable_seqscan', 'off', false);
    -- Not before the oldest trade that is left: candles keep the trades that were dropped, by retention or by hand.
    SELECT min(c.range_start)
    INTO origin
    FROM timescaledb_information.chunks AS c
    WHERE c.hypertable_schema = 'public' AND c.hypertable_name = 'trades';
    SELECT coalesce(origin > r.oldest_chunk, r.oldest_chunk IS NOT NULL) INTO chunks_dropped FROM public.retention AS r;
    IF chunks_dropped THEN
        PERFORM public.recount_trades();
    END IF;
    UPDATE public.retention AS r
    SET oldest_chunk = origin,
        dropped_before = greatest(r.dropped_before, CASE WHEN origin > r.oldest_chunk THEN origin END)
    WHERE r.oldest_chunk IS DISTINCT FROM origin;
    SELECT greatest(origin, r.dropped_before) INTO origin FROM public.retention AS r;
    -- Candles up to the watermark are materialized, even if by a clock that was set back they have not closed yet.
    closed := greatest(public.time_bucket(buckets[1], now() - buckets[1]), public.candles_watermark(intervals[1]));
    -- Ranges that no level has materialized, nor will this run. A level may be materialized further than the minutes, by its
    -- own policy.
    DELETE FROM public.stale_ranges AS s
    WHERE s.level = 1
        AND s.since >= greatest(closed, (SELECT max(public.candles_watermark(i)) FROM unnest(intervals) AS i));
    COMMIT;
    from_time := greatest(public.candles_watermark(intervals[1]), origin);
    IF from_time < closed THEN
        LOOP
            -- From chunk to chunk, because a market may rest for years.
            SELECT greatest(from_time, min(c.range_start)), least(min(c.range_end), closed)
            INTO from_time, to_time
            FROM timescaledb_information.chunks AS c
            WHERE c.hypertable_schema = 'public' AND c.hypertable_name = 'trades' AND c.range_end > from_time
            HAVING count(*) > 0;
            EXIT WHEN from_time IS NULL OR from_time >= to_time;
            to_time := least(from_time + buckets[1] * max_buckets, to_time);
            SELECT array_agg(s.id)
            INTO seen
            FROM public.stale_ranges AS s
            WHERE s.level = 1 AND s.since >= from_time AND s.until < to_time;
            CALL public.refresh_continuous_aggregate(
                'public.candles_1m', from_time, to_time, force => true, options => '{"buckets_per_batch": 0}'
            );
            UPDATE public.stale_ranges AS s SET level = 2 WHERE s.id = ANY (seen);
            COMMIT;
            EXIT WHEN clock_timestamp() > deadline;
            from_time := to_time;
        END LOOP;
    END IF;
    LOOP
        EXIT WHEN clock_timestamp() > deadline;
        SELECT min(s.level) INTO step FROM public.stale_ranges AS s;
        EXIT WHEN step IS NULL;
        bucket := buckets[step];
        closed := greatest(public.time_bucket(bucket, now() - bucket), public.candles_watermark(intervals[step]));
        watermark := coalesce(public.candles_watermark(intervals[step]), '-infinity');
        -- Many ranges are rounded out to sixty buckets, because a refresh costs 8 ms whatever its range.
        SELECT array_agg(s.id), CASE
            WHEN count(*) <= 100 THEN range_agg(tstzrange(
                public.time_bucket(bucket, s.since), public.time_bucket(bucket, s.until) + bucket
            ))
            ELSE range_agg(tstzrange(
                public.time_bucket(bucket * 60, s.since), public.time_bucket(bucket * 60, s.until) + bucket * 60
            ))
        END
        INTO seen, stale
        FROM public.stale_ranges AS s
        WHERE s.level = step AND s.since < bucket * max_buckets + (
            SELECT min(first.since) FROM public.stale_ranges AS first WHERE first.level = step
        );
        -- Stale ranges before the oldest chunk are skipped, because their trades have been dropped. The oldest chunk is looked
        -- up again, because trades may have been stored in an older one since the run began.
        IF step = 1 THEN
            SELECT greatest(min(c.range_start), (SELECT r.dropped_before FROM public.retention AS r))
            INTO origin
            FROM timescaledb_information.chunks AS c
            WHERE c.hypertable_schema = 'public' AND c.hypertable_name = 'trades';
        END IF;
        FOREACH gap IN ARRAY ARRAY(SELECT r FROM unnest(stale * tstzmultirange(tstzrange(NULL, closed))) AS r) LOOP
            from_time := lower(gap);
            IF step = 1 THEN
                from_time := greatest(from_time, origin);
            ELSIF upper(gap) > watermark THEN
                -- A refresh above the watermark begins at the watermark: candles in a gap between them would never show again.
                from_time := least(from_time, greatest(watermark, (
                    SELECT public.time_bucket(bucket, min(c.range_start))
                    FROM timescaledb_information.chunks AS c
                    JOIN timescaledb_information.continuous_aggregates AS a
                        ON a.materialization_hypertable_schema = c.hypertable_schema
                        AND a.materialization_hypertable_name = c.hypertable_name
                    WHERE a.view_schema = 'public' AND a.view_name = 'candles_1m'
                )));
            END IF;
            WHILE from_time < upper(gap) LOOP
                to_time := least(from_time + bucket * 10080, upper(gap));
                CALL public.refresh_continuous_aggregate(
                    ('public.candles_' || intervals[step])::regclass,
                    from_time,
                    to_time,
                    force => true,
                    options => '{"buckets_per_batch": 0}'
                );
                COMMIT;
                from_time := to_time;
                watermark := greatest(watermark, to_time);
            END LOOP;
        END LOOP;
        DELETE FROM public.stale_ranges AS s WHERE s.id = ANY (seen);
        IF step < array_length(buckets, 1) THEN
            INSERT INTO public.stale_ranges (level, since, until)
            SELECT step + 1, lower(r), upper(r) - INTERVAL '1 microsecond'
            FROM unnest(stale) AS r;
        END IF;
        COMMIT;
    END LOOP;
    PERFORM set_config('enable_seqscan', seqscan, false);
    PERFORM pg_advisory_unlock(7164051127);
END
$$;
