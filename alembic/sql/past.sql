-- Present text of the functions that read the past.

CREATE OR REPLACE FUNCTION retention_versioned() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    new.dropped_version := newest_version();
    RETURN new;
END
$$;

CREATE OR REPLACE FUNCTION version_at(moment timestamptz) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    low bigint := 0;
    high bigint;
    middle bigint;
    found record;
BEGIN
    IF moment > clock_timestamp() THEN
        RAISE EXCEPTION USING ERRCODE = 'MD001', MESSAGE = format('%s is in the future', moment);
    END IF;
    -- A transaction that is about to commit has its time already, but is not visible yet. The rollback to before the lock
    -- releases it: nobody can make writers wait.
    IF moment > clock_timestamp() - INTERVAL '1 minute' THEN
        BEGIN
            LOCK TABLE stream_commit_lock IN ROW SHARE MODE;
            RAISE EXCEPTION USING ERRCODE = 'MD000';
        EXCEPTION
            WHEN SQLSTATE 'MD000' THEN NULL;
        END;
    END IF;
    -- Times follow the versions, so it is found by halving.
    high := newest_version();
    WHILE low < high LOOP
        middle := low + (high - low) / 2 + 1;
        SELECT version, committed_at INTO found FROM commits WHERE version >= middle ORDER BY version LIMIT 1;
        IF found.committed_at <= moment THEN
            low := found.version;
        ELSE
            high := middle - 1;
        END IF;
    END LOOP;
    RETURN low;
END
$$;

CREATE OR REPLACE FUNCTION writes_as_of(
    version bigint, since timestamptz,
    OUT newest bigint, OUT late bigint[], OUT newest_time timestamptz, OUT committed_at timestamptz
)
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    kept public.retention;
    following bigint;
BEGIN
    IF version > public.newest_version() OR version < 0 OR version IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'MD001', MESSAGE = format('there is no version %s', version),
            DETAIL = format('The newest version is %s.', public.newest_version());
    END IF;
    SELECT * INTO kept FROM public.retention;
    IF version < kept.truncated_version OR (version < kept.dropped_version AND since < kept.dropped_before) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'MD002', MESSAGE = format('trades of version %s have been dropped', version),
            DETAIL = greatest(
                kept.truncated_version, CASE WHEN since < kept.dropped_before THEN kept.dropped_version END
            )::text;
    END IF;
    SELECT c.newest_write_id, c.newest_time, c.committed_at
    INTO newest, newest_time, committed_at
    FROM public.commits AS c
    WHERE c.version <= writes_as_of.version
    ORDER BY c.version DESC
    LIMIT 1;
    IF NOT FOUND THEN
        newest := -1;
        newest_time := '-infinity';
        committed_at := '-infinity';
    ELSIF newest IS NULL THEN  -- committed before revision 0016
        SELECT max(c.write_id), max(c.last_time)
        INTO newest, newest_time
        FROM public.commits AS c
        WHERE c.version <= writes_as_of.version;
    END IF;
    -- Statements that had begun, and were committed later: before the next one began, or after it, when the index
    -- commits_overtaken has them. Few blocks have any.
    SELECT c.version
    INTO following
    FROM public.commits AS c
    WHERE c.version > writes_as_of.version AND c.newest_write_id > newest
    ORDER BY c.version
    LIMIT 1;
    SELECT coalesce(array_agg(found.write_id), '{}')
    INTO late
    FROM (
        SELECT c.write_id
        FROM public.commits AS c
        WHERE c.version > writes_as_of.version AND c.version < coalesce(following, 9223372036854775807)
            AND c.write_id <= newest
        UNION ALL
        SELECT c.write_id
        FROM (
            SELECT DISTINCT b.block
            FROM public.commit_blocks AS b
            WHERE b.block >= following / 10000 AND b.write_id <= newest
        ) AS later
        JOIN public.commits AS c
            ON c.version >= greatest(later.block * 10000, following) AND c.version < (later.block + 1) * 10000
        WHERE c.write_id <= newest AND c.write_id < c.newest_write_id
    ) AS found;
END
$$;

CREATE OR REPLACE FUNCTION past_trades(newest bigint, late bigint[], since timestamptz, until timestamptz)
RETURNS TABLE (symbol text, "time" timestamptz, trade_id bigint, price numeric, volume numeric, write_id bigint)
LANGUAGE sql STABLE
AS $$
    SELECT t.symbol, t.time, t.trade_id, t.price, t.volume, t.write_id
    FROM public.trades AS t
    WHERE t.time >= since AND t.time < until AND t.write_id <= newest AND t.write_id <> ALL (late)
    UNION ALL
    -- What later changes replaced: a change ends one state of a trade, and no other change ends the same one.
    SELECT c.symbol, c.time, c.trade_id, c.price_before, c.volume_before, c.write_id_before
    FROM public.trade_changes AS c
    WHERE c.time >= since AND c.time < until AND c.action <> 'truncate'
        AND (c.write_id > newest OR c.write_id = ANY (late))
        AND c.write_id_before <= newest AND c.write_id_before <> ALL (late)
$$;

CREATE OR REPLACE FUNCTION trades_as_of(version bigint, since timestamptz DEFAULT '-infinity')
RETURNS TABLE (symbol text, "time" timestamptz, trade_id bigint, price numeric, volume numeric, write_id bigint)
LANGUAGE sql STABLE
AS $$
    SELECT p.symbol, p.time, p.trade_id, p.price, p.volume, p.write_id
    FROM public.writes_as_of(version, since) AS w
    CROSS JOIN LATERAL public.past_trades(w.newest, w.late, since, w.newest_time + INTERVAL '1 microsecond') AS p
$$;

CREATE OR REPLACE FUNCTION latest_trades_as_of(version bigint, symbols text[] DEFAULT NULL)
RETURNS TABLE (symbol text, "time" timestamptz, trade_id bigint, price numeric, volume numeric)
LANGUAGE plpgsql STABLE
ROWS 100
AS $$
#variable_conflict use_column
DECLARE
    kept public.retention;
    writes record;
BEGIN
    SELECT * INTO kept FROM public.retention;
    SELECT * INTO writes FROM public.writes_as_of(latest_trades_as_of.version, 'infinity');
    RETURN QUERY
    SELECT known.symbol, found.time, found.trade_id, found.price, found.volume
    FROM public.symbols AS known
    LEFT JOIN LATERAL (
        SELECT past.time, past.trade_id, past.price, past.volume
        FROM (
            (
                SELECT t.time, t.trade_id, t.price, t.volume
                FROM public.trades AS t
                WHERE t.symbol = known.symbol AND t.time <= writes.newest_time
                    AND t.write_id <= writes.newest AND t.write_id <> ALL (writes.late)
                ORDER BY t.time DESC, t.trade_id DESC
                LIMIT 1
            )
            UNION ALL
            (
                SELECT c.time, c.trade_id, c.price_before, c.volume_before
                FROM public.trade_changes AS c
                WHERE c.symbol = known.symbol AND c.action <> 'truncate'
                    AND (c.write_id > writes.newest OR c.write_id = ANY (writes.late))
                    AND c.write_id_before <= writes.newest AND c.write_id_before <> ALL (writes.late)
                ORDER BY c.time DESC, c.trade_id DESC
                LIMIT 1
            )
            UNION ALL
            -- Nobody can change a trade that has been dropped.
            SELECT t.time, t.trade_id, t.price, t.volume
            FROM public.latest_trades AS t
            WHERE t.symbol = known.symbol AND t.time < kept.dropped_before
                AND latest_trades_as_of.version >= kept.dropped_version
        ) AS past
        ORDER BY past.time DESC, past.trade_id DESC
        LIMIT 1
    ) AS found ON true
    WHERE (latest_trades_as_of.symbols IS NULL OR known.symbol = ANY (latest_trades_as_of.symbols))
        AND CASE
            WHEN found.time IS NOT NULL THEN true
            WHEN latest_trades_as_of.version >= kept.dropped_version THEN false
            WHEN NOT EXISTS (
                SELECT FROM public.candles_1w AS c WHERE c.symbol = known.symbol AND c.bucket < kept.dropped_before
            ) THEN false
            -- Its trades at that time may be among the dropped ones: raises an error that says so.
            ELSE (SELECT w.newest IS NULL FROM public.writes_as_of(latest_trades_as_of.version, '-infinity') AS w)
        END;
END
$$;

CREATE OR REPLACE FUNCTION few_ranges(area tstzmultirange) RETURNS SETOF tstzrange
LANGUAGE sql IMMUTABLE
AS $$
    SELECT tstzrange(min(lower(r)), max(upper(r)))
    FROM (
        SELECT r, count(*) FILTER (WHERE place <= 20) OVER (ORDER BY r) AS part
        FROM (
            SELECT r, row_number() OVER (ORDER BY gap DESC NULLS LAST) AS place
            FROM (SELECT r, lower(r) - lag(upper(r)) OVER (ORDER BY r) AS gap FROM unnest(area) AS r) AS gaps
        ) AS places
    ) AS parts
    GROUP BY part
$$;

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
