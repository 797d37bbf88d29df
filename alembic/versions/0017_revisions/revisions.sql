-- Frozen: part of revision 0017, never edited. The present text of functions and views is in alembic/sql/.
-- Revisions: closed candles that have changed.

CREATE TABLE reloads (
    write_id bigint NOT NULL,
    symbol text,
    since timestamptz NOT NULL,
    until timestamptz NOT NULL,
    CONSTRAINT reloads_of_write UNIQUE NULLS NOT DISTINCT (write_id, symbol)
);

COMMENT ON TABLE reloads IS
    'Statements that stored, changed or deleted bulk history: they revise all candles of a range, so revisions list the range. '
    'Kept forever; a statement has a row for each symbol.';
COMMENT ON COLUMN reloads.write_id IS 'The statement, as in commits.';
COMMENT ON COLUMN reloads.symbol IS 'Traded symbol; null for all symbols: of TRUNCATE, and before revision 0017.';
COMMENT ON COLUMN reloads.since IS 'Start of the range, inclusive.';
COMMENT ON COLUMN reloads.until IS 'End of the range, exclusive.';

CREATE INDEX commits_late ON commits (version) WHERE committed_at - first_time > INTERVAL '30 seconds';
COMMENT ON INDEX commits_late IS 'Finds the few commits that revised a candle more than 30 seconds after its bucket had ended.';

INSERT INTO reloads (write_id, since, until)
SELECT write_id, min(first_time), max(last_time) + INTERVAL '1 microsecond'
FROM commits
WHERE kind = 'truncate' OR (kind = 'store' AND trade_count > 1000 AND first_time < committed_at - INTERVAL '1 hour')
GROUP BY write_id
HAVING min(first_time) IS NOT NULL;

CREATE OR REPLACE FUNCTION trades_reloaded() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    this constant bigint := currval('write_ids');
BEGIN
    INSERT INTO reloads AS known (write_id, symbol, since, until)
    SELECT write_id, symbol, min(bucket), max(until)
    FROM stream_late_candles
    WHERE write_id = this AND until IS NOT NULL
    GROUP BY write_id, symbol
    ON CONFLICT (write_id, symbol) DO UPDATE
    SET since = least(known.since, excluded.since), until = greatest(known.until, excluded.until);
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION version_until(moment timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    low bigint := 0;
    high bigint := public.newest_version();
    middle bigint;
    found record;
BEGIN
    -- Times follow the versions, so it is found by halving.
    WHILE low < high LOOP
        middle := low + (high - low) / 2 + 1;
        SELECT version, committed_at INTO found FROM public.commits WHERE version >= middle ORDER BY version LIMIT 1;
        IF found.committed_at <= moment THEN
            low := found.version;
        ELSE
            high := middle - 1;
        END IF;
    END LOOP;
    RETURN low;
END
$$;

CREATE OR REPLACE FUNCTION touched_times(
    write_id bigint, symbol text, since timestamptz, until timestamptz
) RETURNS SETOF timestamptz
LANGUAGE sql STABLE
AS $$
    SELECT t.time
    FROM public.trades AS t
    WHERE t.symbol = touched_times.symbol AND t.time >= since AND t.time < until AND t.write_id = touched_times.write_id
    UNION ALL
    -- Stored or corrected by the write, and changed later.
    SELECT c.time
    FROM public.trade_changes AS c
    WHERE c.symbol = touched_times.symbol AND c.time >= since AND c.time < until
        AND c.write_id_before = touched_times.write_id AND c.action <> 'truncate'
    UNION ALL
    SELECT c.time
    FROM public.trade_changes AS c
    WHERE c.write_id = touched_times.write_id AND c.symbol = touched_times.symbol
        AND c.time >= since AND c.time < until AND c.action <> 'truncate'
$$;

CREATE OR REPLACE FUNCTION candle_revisions(
    "interval" text, symbol text,
    since_version bigint DEFAULT 0, until_version bigint DEFAULT 9223372036854775807,
    since timestamptz DEFAULT '-infinity', until timestamptz DEFAULT 'infinity',
    since_bucket timestamptz DEFAULT 'infinity', max_count bigint DEFAULT 9223372036854775807
)
RETURNS TABLE (
    version bigint, bucket timestamptz, reload_until timestamptz, changed_at timestamptz, cause text, actor text, reason text,
    open_before numeric, high_before numeric, low_before numeric, close_before numeric, volume_before numeric,
    turnover_before numeric, trade_count_before bigint,
    open_after numeric, high_after numeric, low_after numeric, close_after numeric, volume_after numeric,
    turnover_after numeric, trade_count_after bigint
)
LANGUAGE plpgsql STABLE
AS $$
#variable_conflict use_column
DECLARE
    names constant text[] := '{1m,5m,15m,30m,1h,4h,1d,1w}';
    lengths constant interval[] := '{1 minute,5 minutes,15 minutes,30 minutes,1 hour,4 hours,24 hours,168 hours}';
    width constant interval := lengths[array_position(names, "interval")];
    kept public.retention;
    write record;
    writes record;
    area tstzmultirange;
    bulk tstzrange;
    part tstzrange;
    who record;
    bound bigint;
    added bigint;
    number bigint := 0;
    reached bigint := -1;
BEGIN
    IF width IS NULL THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('interval must be one of %s, not %L', array_to_string(names, ', '), "interval");
    END IF;
    IF since_version > public.newest_version() OR since_version < 0 OR since_version IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'MD001', MESSAGE = format('there is no version %s', since_version),
            DETAIL = format('The newest version is %s.', public.newest_version());
    END IF;
    SELECT * INTO kept FROM public.retention;
    until_version := least(until_version, public.newest_version());
    -- Only buckets that start in the range.
    IF since > '-infinity' THEN
        since := public.time_bucket(width, since - INTERVAL '1 microsecond') + width;
    END IF;
    IF until < 'infinity' THEN
        until := public.time_bucket(width, until - INTERVAL '1 microsecond') + width;
    END IF;
    -- No bucket of the range had ended before. TRUNCATE ended the record of all versions before it.
    bound := kept.truncated_version - 1;
    IF since_version < least(bound, kept.dropped_version) AND since < kept.dropped_before THEN
        RAISE EXCEPTION USING
            ERRCODE = 'MD002', MESSAGE = format('trades of version %s have been dropped', since_version),
            DETAIL = kept.dropped_version::text;
    END IF;
    IF since > '-infinity' THEN
        bound := greatest(bound, public.version_until(since + width - INTERVAL '1 microsecond'));
    END IF;
    IF bound > since_version THEN
        since_version := bound;
        since_bucket := 'infinity';
    END IF;
    FOR write IN
        SELECT
            statement.*, public.time_bucket(width, c.committed_at) AS closed,
            reload.first_time AS reload_since, reload.last_time AS reload_until,
            EXISTS (SELECT FROM public.reloads AS r WHERE r.write_id = c.write_id) AS is_bulk
        FROM public.commits AS c
        -- A statement that stores and changes trades has up to three successive versions. As of the last it is visible.
        CROSS JOIN LATERAL (
            SELECT
                max(v.version) AS version, c.write_id AS write_id, c.committed_at AS committed_at,
                min(v.first_time) AS first_time, max(v.last_time) AS last_time, min(v.kind) AS kind, max(v.kind) AS other_kind
            FROM public.commits AS v
            WHERE v.version >= c.version AND v.version <= c.version + 2 AND v.write_id = c.write_id
        ) AS statement
        LEFT JOIN LATERAL (
            SELECT min(r.since) AS first_time, max(r.until) AS last_time
            FROM public.reloads AS r
            WHERE r.write_id = c.write_id AND (r.symbol = candle_revisions.symbol OR r.symbol IS NULL)
        ) AS reload ON true
        WHERE c.version >= since_version - 2 AND c.version <= until_version
            AND c.kind IN ('store', 'correct', 'cancel', 'truncate')
            AND c.last_time >= since AND c.first_time < until
            AND public.time_bucket(width, c.first_time) + width <= c.committed_at
        ORDER BY c.version
    LOOP
        CONTINUE WHEN write.version < since_version OR write.version > until_version OR write.version = reached
            OR (write.version = since_version AND since_bucket = 'infinity');
        EXIT WHEN number >= max_count;
        reached := write.version;
        bulk := NULL;
        IF write.reload_since < least(write.closed, until) AND write.reload_until > since THEN
            bulk := tstzrange(
                public.time_bucket(width, write.reload_since),
                public.time_bucket(width, write.reload_until - INTERVAL '1 microsecond') + width
            );
        END IF;
        area := '{}';
        IF write.kind <> 'truncate' AND (write.reload_since IS NULL OR write.reload_until < write.closed) THEN
            IF NOT write.is_bulk AND write.version <= kept.dropped_version
                AND greatest(write.first_time, since) < kept.dropped_before
            THEN
                RAISE EXCEPTION USING
                    ERRCODE = 'MD002', MESSAGE = format('trades of version %s have been dropped', write.version),
                    DETAIL = kept.dropped_version::text;
            END IF;
            SELECT coalesce(range_agg(tstzrange(t.start, t.start + width)), '{}')
            INTO area
            FROM (
                SELECT DISTINCT public.time_bucket(width, time) AS start
                FROM public.touched_times(
                    write.write_id, candle_revisions.symbol, greatest(write.first_time, since),
                    least(write.closed, until, write.last_time + INTERVAL '1 microsecond')
                ) AS time
            ) AS t;
            IF bulk IS NOT NULL THEN
                area := area - tstzmultirange(bulk);
            END IF;
        END IF;
        IF write.version = since_version THEN
            area := area * tstzmultirange(tstzrange(since_bucket + width, NULL));
        END IF;
        SELECT c.actor, c.reason INTO who FROM public.trade_changes AS c WHERE c.write_id = write.write_id ORDER BY c.id LIMIT 1;
        IF bulk IS NOT NULL AND (write.version > since_version OR lower(bulk) > since_bucket) THEN
            version := write.version;
            bucket := lower(bulk);
            reload_until := upper(bulk);
            changed_at := write.committed_at;
            cause := 'reload';
            actor := who.actor;
            reason := who.reason;
            RETURN NEXT;
            number := number + 1;
        END IF;
        CONTINUE WHEN isempty(area);
        -- Before, all the same writes were visible but this one.
        SELECT * INTO writes FROM public.writes_as_of(write.version, 'infinity');
        FOR part IN SELECT r FROM public.few_ranges(area) AS r ORDER BY r LOOP
            RETURN QUERY
            SELECT
                write.version, bucket, NULL::timestamptz, write.committed_at,
                CASE
                    WHEN write.kind = 'store' OR (write.kind <> write.other_kind AND NOT EXISTS (
                        SELECT
                        FROM public.trade_changes AS c
                        WHERE c.write_id = write.write_id AND c.symbol = candle_revisions.symbol
                            AND c.time >= bucket AND c.time < bucket + width
                    )) THEN 'late'
                    ELSE write.kind
                END,
                who.actor, who.reason,
                b.open, b.high, b.low, b.close, b.volume, b.turnover, b.trade_count,
                a.open, a.high, a.low, a.close, a.volume, a.turnover, a.trade_count
            FROM public.past_candles(
                "interval", write.version - 1, writes.newest, writes.late || write.write_id, writes.newest_time,
                candle_revisions.symbol, lower(part), upper(part)
            ) AS b
            FULL JOIN public.past_candles(
                "interval", write.version, writes.newest, writes.late, writes.newest_time,
                candle_revisions.symbol, lower(part), upper(part)
            ) AS a USING (bucket)
            WHERE bucket <@ area
                AND (b.open, b.high, b.low, b.close, b.volume, b.turnover, b.trade_count)
                    IS DISTINCT FROM (a.open, a.high, a.low, a.close, a.volume, a.turnover, a.trade_count)
            ORDER BY bucket;
            GET DIAGNOSTICS added = ROW_COUNT;
            number := number + added;
        END LOOP;
    END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION revised_buckets("interval" text, symbol text, since timestamptz, until timestamptz)
RETURNS TABLE (bucket timestamptz, changed_at timestamptz, change_count bigint)
LANGUAGE plpgsql STABLE
AS $$
#variable_conflict use_column
DECLARE
    names constant text[] := '{1m,5m,15m,30m,1h,4h,1d,1w}';
    lengths constant interval[] := '{1 minute,5 minutes,15 minutes,30 minutes,1 hour,4 hours,24 hours,168 hours}';
    width constant interval := lengths[array_position(names, "interval")];
    first_version bigint;
BEGIN
    -- Only buckets that start in the range. No bucket of the range had ended before the first version.
    since := public.time_bucket(width, since - INTERVAL '1 microsecond') + width;
    until := public.time_bucket(width, until - INTERVAL '1 microsecond') + width;
    first_version := public.version_until(since + width);
    RETURN QUERY
    SELECT found.bucket, max(c.committed_at), count(DISTINCT c.write_id)
    FROM public.commits AS c
    CROSS JOIN LATERAL (
        SELECT DISTINCT public.time_bucket(width, time) AS bucket
        FROM public.touched_times(
            c.write_id, revised_buckets.symbol, greatest(c.first_time, since),
            least(c.last_time + INTERVAL '1 microsecond', until)
        ) AS time
    ) AS found
    WHERE c.version > first_version AND c.kind IN ('store', 'correct', 'cancel')
        AND c.committed_at - c.first_time > INTERVAL '30 seconds'  -- of the index commits_late
        AND c.last_time >= since AND c.first_time < until
        AND found.bucket + width + INTERVAL '30 seconds' < c.committed_at
        AND NOT EXISTS (SELECT FROM public.reloads AS r WHERE r.write_id = c.write_id)
    GROUP BY 1
    ORDER BY 1;
END
$$;

CREATE OR REPLACE FUNCTION candles_as_of_close(
    "interval" text, grace interval, version bigint, symbol text,
    since timestamptz DEFAULT '-infinity', until timestamptz DEFAULT 'infinity'
)
RETURNS TABLE (
    bucket timestamptz, open numeric, high numeric, low numeric, close numeric, volume numeric, turnover numeric,
    trade_count bigint, write_id bigint
)
LANGUAGE plpgsql STABLE
AS $$
#variable_conflict use_column
DECLARE
    names constant text[] := '{1m,5m,15m,30m,1h,4h,1d,1w}';
    lengths constant interval[] := '{1 minute,5 minutes,15 minutes,30 minutes,1 hour,4 hours,24 hours,168 hours}';
    width constant interval := lengths[array_position(names, "interval")];
    kept public.retention;
    first_version bigint := 0;
    gone bigint;
    area tstzmultirange;
    part record;
BEGIN
    SELECT * INTO kept FROM public.retention;
    -- Buckets that start in the range, and for which the time has come.
    IF since > '-infinity' THEN
        since := public.time_bucket(width, since - INTERVAL '1 microsecond') + width;
        first_version := public.version_until(since + width + grace);
    END IF;
    until := least(until, public.time_bucket(width, now() - width - grace) + width);
    IF since >= until THEN
        RETURN;
    END IF;
    -- The buckets that were changed after their time.
    SELECT
        coalesce(range_agg(touched.area), '{}'),
        max(greatest(kept.dropped_version, kept.truncated_version)) FILTER (WHERE c.version <= kept.truncated_version OR (
            c.version <= kept.dropped_version AND greatest(c.first_time, since) < kept.dropped_before
        ))
    INTO area, gone
    FROM public.commits AS c
    LEFT JOIN LATERAL (
        SELECT range_agg(tstzrange(found.start, found.start + width)) AS area
        FROM (
            SELECT DISTINCT public.time_bucket(width, time) AS start
            FROM public.touched_times(
                c.write_id, candles_as_of_close.symbol, greatest(c.first_time, since),
                least(c.last_time + INTERVAL '1 microsecond', until)
            ) AS time
        ) AS found
        WHERE found.start + width + grace < c.committed_at
    ) AS touched ON true
    WHERE c.version > first_version AND c.version <= candles_as_of_close.version
        AND c.kind IN ('store', 'correct', 'cancel', 'truncate')
        AND c.last_time >= since AND c.first_time < until
        AND public.time_bucket(width, c.first_time) + width + grace < c.committed_at;
    IF gone IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'MD002', MESSAGE = 'trades that the candles need have been dropped', DETAIL = gone::text;
    END IF;
    RETURN QUERY
    SELECT c.*
    FROM public.candles_as_of("interval", candles_as_of_close.version, candles_as_of_close.symbol, since, until) AS c
    WHERE NOT c.bucket <@ area;
    -- At most as many versions as there are such buckets, and after an import only one.
    FOR part IN
        SELECT least(public.version_until(start + width + grace), candles_as_of_close.version) AS version, range_agg(r) AS area
        FROM (
            SELECT start, tstzrange(start, start + width) AS r
            FROM unnest(area) AS piece
            CROSS JOIN generate_series(lower(piece), upper(piece) - INTERVAL '1 microsecond', width) AS start
        ) AS late
        GROUP BY 1
    LOOP
        RETURN QUERY
        SELECT c.*
        FROM public.candles_as_of(
            "interval", part.version, candles_as_of_close.symbol, lower(part.area), upper(part.area)
        ) AS c
        WHERE c.bucket <@ part.area;
    END LOOP;
END
$$;

CREATE TABLE pins (
    name text NOT NULL,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pins_pkey PRIMARY KEY (name)
);

COMMENT ON TABLE pins IS 'Versions that stay answerable: while there is a pin, drop_old_trades() drops no trades.';
COMMENT ON COLUMN pins.name IS 'Name of the pin.';
COMMENT ON COLUMN pins.version IS 'The version.';
COMMENT ON COLUMN pins.created_at IS 'Time of its creation.';

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

-- As of a version, a trade at the very start of a bucket that was changed later was missing.
CREATE OR REPLACE FUNCTION past_candles(
    "interval" text, version bigint, newest bigint, late bigint[], newest_time timestamptz, symbol text,
    since timestamptz, until timestamptz
)
RETURNS TABLE (
    bucket timestamptz, open numeric, high numeric, low numeric, close numeric, volume numeric, turnover numeric,
    trade_count bigint, write_id bigint
)
LANGUAGE plpgsql STABLE
AS $$
#variable_conflict use_column
DECLARE
    names constant text[] := '{1m,5m,15m,30m,1h,4h,1d,1w}';
    -- Hours instead of days: the session's time zone can't make them longer or shorter.
    lengths constant interval[] := '{1 minute,5 minutes,15 minutes,30 minutes,1 hour,4 hours,24 hours,168 hours}';
    level constant integer := array_position(names, "interval");
    width constant interval := lengths[level];
    kept public.retention;
    changed tstzmultirange;
    complete bigint;
    area tstzmultirange;
    outdated tstzmultirange;
    unknown tstzmultirange;
    changed_since tstzmultirange;
    part tstzrange;
    pieces public.candles_1m[] := '{}';
    more public.candles_1m[];
BEGIN
    IF level IS NULL THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('interval must be one of %s, not %L', array_to_string(names, ', '), "interval");
    END IF;
    -- The candles of trades that were all committed by then: their greatest write_id is below those of later commits.
    complete := least(newest, (SELECT min(l) - 1 FROM unnest(late) AS l));
    -- The starts of buckets, the last of which had a trade at most.
    IF since > '-infinity' THEN
        since := public.time_bucket(width, since - INTERVAL '1 microsecond') + width;
    END IF;
    until := least(until, past_candles.newest_time + INTERVAL '1 microsecond');
    IF since >= until THEN
        RETURN;
    END IF;
    SELECT coalesce(range_agg(tstzrange(c.time, c.time, '[]')), '{}')
    INTO changed
    FROM public.trade_changes AS c
    WHERE c.symbol = past_candles.symbol AND c.time >= since AND c.time < until + width
        AND (c.write_id > past_candles.newest OR c.write_id = ANY (past_candles.late));
    -- The buckets whose candles have changed since, from coarse to fine: of a week, only the changed minutes are read from
    -- trades.
    FOR step IN REVERSE level .. 1 LOOP
        SELECT coalesce(range_agg(tstzrange(
            public.time_bucket(lengths[step], lower(r)),
            public.time_bucket(lengths[step], upper(r)) + lengths[step]  -- a range of a change includes its end
        )), '{}')
        INTO outdated
        FROM unnest((changed + public.stale_times(step)) * tstzmultirange(tstzrange(since, until + width))) AS r;
        IF step = level THEN
            -- Only buckets that start in the range.
            outdated := outdated * tstzmultirange(tstzrange(
                since, public.time_bucket(width, until - INTERVAL '1 microsecond') + width
            ));
            EXECUTE format($sql$
                SELECT $1 + coalesce(range_agg(tstzrange(bucket, bucket + $2)), '{}')
                FROM public.candles_%s
                WHERE symbol = $3 AND bucket >= $4 AND bucket < $5 AND write_id > $6
            $sql$, names[step])
            INTO area
            USING outdated, width, symbol, since, until, complete;
            RETURN QUERY EXECUTE format($sql$
                SELECT bucket, open, high, low, close, volume, turnover, trade_count, write_id
                FROM public.candles_%s
                WHERE symbol = $1 AND bucket >= $2 AND bucket < $3 AND NOT bucket <@ $4
            $sql$, names[step])
            USING symbol, since, until, area;
        ELSE
            unknown := area * outdated;
            FOR part IN SELECT public.few_ranges(area) LOOP
                -- IS TRUE, because TimescaleDB 2.29.2 fails to plan a bare comparison of its time column with a multirange.
                EXECUTE format($sql$
                    SELECT
                        coalesce(array_agg(piece) FILTER (WHERE whole), '{}'),
                        coalesce(range_agg(tstzrange(bucket, bucket + $1)) FILTER (WHERE NOT whole), '{}')
                    FROM (
                        SELECT
                            bucket,
                            write_id <= $2 AND NOT bucket <@ $3 AS whole,
                            ROW(
                                symbol, bucket, open, high, low, close, volume, turnover, trade_count, write_id
                            )::public.candles_1m AS piece
                        FROM public.candles_%s
                        WHERE symbol = $4 AND bucket >= $5 AND bucket < $6 AND (bucket <@ $7) IS TRUE
                    ) AS finer
                $sql$, names[step])
                INTO more, changed_since
                USING lengths[step], complete, outdated, symbol, lower(part), upper(part), area;
                pieces := pieces || more;
                unknown := unknown + changed_since;
            END LOOP;
            area := unknown;
        END IF;
        -- Of a bucket that had not ended, the rest had no trade.
        area := area * tstzmultirange(tstzrange(NULL, past_candles.newest_time + INTERVAL '1 microsecond'));
        EXIT WHEN isempty(area);
    END LOOP;
    IF NOT isempty(area) THEN
        SELECT * INTO kept FROM public.retention;
        IF version < kept.dropped_version AND lower(area) < kept.dropped_before THEN
            RAISE EXCEPTION USING
                ERRCODE = 'MD002', MESSAGE = format('trades of version %s have been dropped', version),
                DETAIL = kept.dropped_version::text;
        END IF;
        FOR part IN SELECT public.few_ranges(area) LOOP
            SELECT pieces || coalesce(array_agg(minute), '{}')
            INTO pieces
            FROM (
                SELECT ROW(
                    past_candles.symbol, public.time_bucket(INTERVAL '1 minute', t.time),
                    public.first(t.price, t.time ORDER BY t.trade_id), max(t.price), min(t.price),
                    public.last(t.price, t.time ORDER BY t.trade_id DESC),
                    sum(t.volume), sum(t.price * t.volume), count(*), max(t.write_id)
                )::public.candles_1m AS minute
                FROM public.past_trades(past_candles.newest, past_candles.late, lower(part), upper(part)) AS t
                WHERE t.symbol = past_candles.symbol AND (t.time <@ area) IS TRUE
                GROUP BY public.time_bucket(INTERVAL '1 minute', t.time)
            ) AS found;
        END LOOP;
    END IF;
    RETURN QUERY
    SELECT
        public.time_bucket(width, p.bucket), public.first(p.open, p.bucket), max(p.high), min(p.low),
        public.last(p.close, p.bucket), sum(p.volume), sum(p.turnover), sum(p.trade_count)::bigint, max(p.write_id)
    FROM unnest(pieces) AS p
    GROUP BY public.time_bucket(width, p.bucket);
END
$$;

CREATE OR REPLACE FUNCTION candles_as_of(
    "interval" text, version bigint, symbol text,
    since timestamptz DEFAULT '-infinity', until timestamptz DEFAULT 'infinity'
)
RETURNS TABLE (
    bucket timestamptz, open numeric, high numeric, low numeric, close numeric, volume numeric, turnover numeric,
    trade_count bigint, write_id bigint
)
LANGUAGE sql STABLE
AS $$
    SELECT p.*
    FROM public.writes_as_of(version, 'infinity') AS w
    CROSS JOIN LATERAL public.past_candles(
        "interval", version, w.newest, w.late, w.newest_time, symbol, since, until
    ) AS p
$$;

CREATE OR REPLACE FUNCTION trades_streamed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    this constant bigint := currval('write_ids');
    -- Trades before this time are bulk history: no client follows them one by one.
    bulk_before timestamptz := '-infinity';
    -- An INSERT and an UPDATE of one statement (MERGE, ON CONFLICT) share its write_id.
    numbered constant integer := coalesce((SELECT max(number) FROM stream_events WHERE write_id = this), 0);
BEGIN
    IF current_setting('market_data.stream', true) = 'off' THEN
        bulk_before := 'infinity';
    ELSIF (SELECT count(*) FROM stored WHERE time < now() - INTERVAL '1 hour') > 1000 THEN
        bulk_before := now() - INTERVAL '1 hour';
    END IF;
    IF bulk_before > '-infinity' THEN
        INSERT INTO stream_late_candles (write_id, symbol, bucket, until)
        SELECT this, symbol, min(time), max(time) + INTERVAL '1 microsecond'
        FROM stored
        WHERE time < bulk_before
        GROUP BY symbol;
        UPDATE stale_ranges SET bulk = true WHERE write_id = this;
        INSERT INTO reloads AS known (write_id, symbol, since, until)
        SELECT this, symbol, min(time), max(time) + INTERVAL '1 microsecond'
        FROM stored
        WHERE time < bulk_before
        GROUP BY symbol
        ON CONFLICT (write_id, symbol) DO UPDATE
        SET since = least(known.since, excluded.since), until = greatest(known.until, excluded.until);
    END IF;
    INSERT INTO stream_events (write_id, number, kind, symbol, time, trade_id, price, volume)
    SELECT
        write_id, numbered + row_number() OVER (ORDER BY time, symbol, trade_id), 'trade',
        symbol, time, trade_id, price, volume
    FROM stored
    WHERE time >= bulk_before;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION trades_truncated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    this constant bigint := nextval('write_ids');
    first_time timestamptz;
    last_time timestamptz;
BEGIN
    INSERT INTO stale_ranges (write_id, since, until, bulk)
    SELECT this, range_start, range_end - INTERVAL '1 microsecond', true
    FROM timescaledb_information.chunks
    WHERE hypertable_schema = 'public' AND hypertable_name = 'trades';
    SELECT min(range_start), max(range_end)
    INTO first_time, last_time
    FROM timescaledb_information.chunks
    WHERE hypertable_schema = 'public' AND hypertable_name = 'trades';
    UPDATE retention SET oldest_chunk = NULL;
    INSERT INTO stream_late_candles (write_id, symbol, bucket, until)
    SELECT this, symbol, coalesce(first_time, time), coalesce(last_time, time + INTERVAL '1 microsecond')
    FROM latest_trades;
    -- Of all symbols, also of those without a trade: no revision before this one can be read.
    INSERT INTO reloads (write_id, since, until) SELECT this, first_time, last_time WHERE first_time IS NOT NULL;
    -- One row for each symbol: a row for each trade could take hours.
    INSERT INTO trade_changes (
        action, symbol, time, trade_id, price_before, volume_before, actor, reason, write_id, write_id_before, database_role
    )
    SELECT
        'truncate', symbol, time, trade_id, price, volume,
        coalesce(nullif(current_setting('market_data.actor', true), ''), session_user),
        nullif(current_setting('market_data.reason', true), ''),
        this, 0, session_user
    FROM latest_trades;
    DELETE FROM latest_trades;
    -- number_commit() fills in the number of trades.
    INSERT INTO pending_commits (write_id, kind, trade_count, first_time, last_time)
    VALUES (this, 'truncate', 0, first_time, last_time);
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION advance_stream() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    before timestamptz;
    -- A second after the end of the bucket, for trades that are about to be committed.
    closed constant timestamptz := date_trunc('minute', now() - INTERVAL '1 second');
    this bigint;
BEGIN
    SELECT closed_until INTO before FROM stream_progress;
    IF before BETWEEN closed AND closed + INTERVAL '1 minute' AND NOT EXISTS (SELECT FROM stream_late_candles) THEN
        RETURN;
    END IF;
    SELECT closed_until INTO before FROM stream_progress FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN;  -- another process does it
    END IF;
    -- After the clock was set back, closings are published again: until then the candles are open.
    IF before NOT BETWEEN closed AND closed + INTERVAL '1 minute' THEN
        UPDATE stream_progress SET closed_until = closed;
        this := nextval('write_ids');
        -- All symbols that may have a candle in a bucket; the reader finds that some have none. Closings that no process
        -- published in time are published for an hour back, as far as a stream can be resumed.
        INSERT INTO stream_events (write_id, number, kind, symbol, time, "interval")
        SELECT this, row_number() OVER (ORDER BY ends, length, symbol), 'closing', symbol, ends - length, "interval"
        FROM (
            VALUES
                ('1m', INTERVAL '1 minute'), ('5m', INTERVAL '5 minutes'), ('15m', INTERVAL '15 minutes'),
                ('30m', INTERVAL '30 minutes'), ('1h', INTERVAL '1 hour'), ('4h', INTERVAL '4 hours'),
                ('1d', INTERVAL '24 hours'), ('1w', INTERVAL '168 hours')
        ) AS level ("interval", length)
        CROSS JOIN LATERAL (
            SELECT time_bucket(length, closed) - length * n AS ends
            FROM generate_series(0, 60) AS n
        ) AS bucket
        JOIN latest_trades ON latest_trades.time >= ends - length
        WHERE ends > greatest(before, closed - INTERVAL '1 hour');
        INSERT INTO pending_commits (write_id, kind, trade_count, first_time, last_time)
        SELECT this, 'close', 0, min(time), max(time)
        FROM stream_events
        WHERE write_id = this
        HAVING count(*) > 0;
    END IF;
    IF EXISTS (SELECT FROM stream_late_candles) THEN
        this := nextval('write_ids');
        -- A candle is refreshed when no range that became stale before it is left, or none of its time: the first for
        -- candles that get late trades all the time. Each is looked up in one multirange: compared with each stale range, a
        -- month of late minutes took half a second of every second of a server.
        WITH refreshed AS (
            DELETE FROM stream_late_candles AS late
            WHERE late.write_id < (SELECT coalesce(min(write_id), 9223372036854775807) FROM stale_ranges)
                OR NOT tstzrange(late.bucket, coalesce(late.until, late.bucket + INTERVAL '1 minute')) && (
                    SELECT coalesce(range_agg(tstzrange(since, until, '[]')), '{}')
                    FROM stale_ranges
                )
            RETURNING symbol, bucket, until
        ), bulk AS (
            -- A range that begins more than a day after all earlier ones is a reload of its own: clients read it again.
            SELECT symbol, bucket, until, bucket > INTERVAL '1 day' + max(until) OVER (
                PARTITION BY symbol ORDER BY bucket ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ) AS is_apart
            FROM refreshed
            WHERE until IS NOT NULL
        ), numbered AS (
            SELECT symbol, bucket, until, count(*) FILTER (WHERE is_apart) OVER (PARTITION BY symbol ORDER BY bucket) AS number
            FROM bulk
        )
        INSERT INTO stream_events (write_id, number, kind, symbol, time, until)
        SELECT this, row_number() OVER (ORDER BY kind, bucket, symbol), kind, symbol, bucket, until
        FROM (
            SELECT DISTINCT 'revision' AS kind, symbol, bucket, NULL::timestamptz AS until FROM refreshed WHERE until IS NULL
            UNION ALL
            SELECT 'reload', symbol, min(bucket), max(until) FROM numbered GROUP BY symbol, number
        ) AS event;
        INSERT INTO pending_commits (write_id, kind, trade_count, first_time, last_time)
        -- A replay takes the reloads of ranges that end by then: another range may begin before and still wait.
        SELECT this, 'revise', 0, min(time), max(coalesce(until - INTERVAL '1 microsecond', time))
        FROM stream_events
        WHERE write_id = this
        HAVING count(*) > 0;
    END IF;
END
$$;

CREATE TRIGGER trades_reloaded AFTER UPDATE OR DELETE ON trades
    FOR EACH STATEMENT WHEN (current_setting('market_data.stream', true) = 'off') EXECUTE FUNCTION trades_reloaded();

COMMENT ON FUNCTION trades_reloaded() IS
    'After UPDATE and DELETE that are not streamed: records the range of each symbol in reloads.';
COMMENT ON FUNCTION past_candles(text, bigint, bigint, bigint[], timestamptz, text, timestamptz, timestamptz) IS
    'Candles of the writes that writes_as_of() has told; the version only decides if trades have been dropped.';
COMMENT ON FUNCTION version_until(timestamptz) IS
    'The newest version that had been committed at a time, of those that the snapshot of the caller contains; 0 before the first.';
COMMENT ON FUNCTION touched_times(bigint, text, timestamptz, timestamptz) IS
    'Times, in a range, of the trades of a symbol that a statement stored, corrected or cancelled.';
COMMENT ON FUNCTION candle_revisions(text, text, bigint, bigint, timestamptz, timestamptz, timestamptz, bigint) IS
    'Candles of a symbol that changed after their bucket had ended, with their values before and after: in the order of the '
    'versions after one, up to another, and of buckets that start since a time and before another; of the version '
    'since_version itself, those after since_bucket. Stops after the version in which it has max_count rows. Cause is late, '
    'correct or cancel; of bulk history there is one row with cause reload, whose candles from bucket to reload_until may '
    'have changed. An error if trades that it needs have been dropped. Nothing is listed before a TRUNCATE.';
COMMENT ON FUNCTION revised_buckets(text, text, timestamptz, timestamptz) IS
    'Buckets of a symbol, that start since a time and before another, in which trades were stored, corrected or cancelled '
    'more than 30 seconds after the end of the bucket: by how many statements, and when the newest was committed. Bulk '
    'history is left out; so are trades that have been dropped.';
COMMENT ON FUNCTION candles_as_of_close(text, interval, bigint, text, timestamptz, timestamptz) IS
    'Candles of a symbol whose buckets start since a time and before another, each as it stood when a grace period had passed '
    'since the end of its bucket, in no order. Commits after a version do not count. A bucket without a trade by then, or '
    'whose time has not come yet, has none. An error if trades that are needed have been dropped.';

REVOKE EXECUTE ON FUNCTION trades_reloaded() FROM PUBLIC;
