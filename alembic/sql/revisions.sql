-- Present text of the functions that list revisions of candles.

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
