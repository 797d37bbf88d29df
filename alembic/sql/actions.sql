-- Present text of the functions of corporate actions.
-- Those with static statements over candles keep generic plans: planning takes longer than reading a year of days.

CREATE OR REPLACE FUNCTION action_factor(dividend numeric, divisor numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE STRICT
AS $$
    -- A quotient has at least as many decimals as its operands.
    SELECT round(dividend * 1.0000000000000000000000000000000000000000 / divisor, 30)
$$;

CREATE OR REPLACE FUNCTION effect_of(ex_date date, time_zone text) RETURNS timestamptz
LANGUAGE sql STABLE
AS $$
    -- A whole minute: offsets of time zones had seconds until the 1930s.
    SELECT date_trunc('minute', ex_date::timestamp AT TIME ZONE time_zone, 'UTC')
$$;

CREATE OR REPLACE FUNCTION stored_candles(
    "interval" text, symbol text, since timestamptz, until timestamptz, version bigint
)
RETURNS TABLE (
    bucket timestamptz, open numeric, high numeric, low numeric, close numeric, volume numeric, turnover numeric,
    trade_count bigint, write_id bigint
)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
    IF version IS NOT NULL THEN
        RETURN QUERY
        SELECT c.bucket, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trade_count, c.write_id
        FROM public.candles_as_of("interval", version, symbol, since, until) AS c;
        RETURN;
    END IF;
    -- Static statements, whose plans are kept: planning them takes longer than reading a year of days.
    CASE "interval"
        WHEN '1m' THEN
            RETURN QUERY
            SELECT c.bucket, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trade_count, c.write_id
            FROM public.candles_1m AS c
            WHERE c.symbol = stored_candles.symbol AND c.bucket >= since AND c.bucket < until;
        WHEN '5m' THEN
            RETURN QUERY
            SELECT c.bucket, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trade_count, c.write_id
            FROM public.candles_5m AS c
            WHERE c.symbol = stored_candles.symbol AND c.bucket >= since AND c.bucket < until;
        WHEN '15m' THEN
            RETURN QUERY
            SELECT c.bucket, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trade_count, c.write_id
            FROM public.candles_15m AS c
            WHERE c.symbol = stored_candles.symbol AND c.bucket >= since AND c.bucket < until;
        WHEN '30m' THEN
            RETURN QUERY
            SELECT c.bucket, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trade_count, c.write_id
            FROM public.candles_30m AS c
            WHERE c.symbol = stored_candles.symbol AND c.bucket >= since AND c.bucket < until;
        WHEN '1h' THEN
            RETURN QUERY
            SELECT c.bucket, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trade_count, c.write_id
            FROM public.candles_1h AS c
            WHERE c.symbol = stored_candles.symbol AND c.bucket >= since AND c.bucket < until;
        WHEN '4h' THEN
            RETURN QUERY
            SELECT c.bucket, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trade_count, c.write_id
            FROM public.candles_4h AS c
            WHERE c.symbol = stored_candles.symbol AND c.bucket >= since AND c.bucket < until;
        WHEN '1d' THEN
            RETURN QUERY
            SELECT c.bucket, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trade_count, c.write_id
            FROM public.candles_1d AS c
            WHERE c.symbol = stored_candles.symbol AND c.bucket >= since AND c.bucket < until;
        WHEN '1w' THEN
            RETURN QUERY
            SELECT c.bucket, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trade_count, c.write_id
            FROM public.candles_1w AS c
            WHERE c.symbol = stored_candles.symbol AND c.bucket >= since AND c.bucket < until;
        ELSE
            RAISE invalid_parameter_value USING MESSAGE = format('%L is not a stored interval', "interval");
    END CASE;
END
$$;

CREATE OR REPLACE FUNCTION candles_at("interval" text, symbol text, buckets timestamptz[], version bigint)
RETURNS TABLE (
    bucket timestamptz, open numeric, high numeric, low numeric, close numeric, volume numeric, turnover numeric,
    trade_count bigint, write_id bigint
)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    -- Without an index, as in the columnstore and in trades that are not materialized, each row is compared with each bucket.
    size constant integer := CASE WHEN "interval" IN ('1m', '5m', '15m') THEN 100 ELSE 1000 END;
    first timestamptz;
    last timestamptz;
    slice timestamptz[];
BEGIN
    IF version IS NOT NULL THEN
        SELECT min(b), max(b) INTO first, last FROM unnest(buckets) AS b;
        IF first IS NOT NULL THEN
            RETURN QUERY
            SELECT c.bucket, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trade_count, c.write_id
            FROM public.candles_as_of("interval", version, symbol, first, last + INTERVAL '1 microsecond') AS c
            WHERE c.bucket IN (SELECT unnest(buckets));
        END IF;
        RETURN;
    END IF;
    FOR first, last, slice IN
        SELECT min(b), max(b), array_agg(b)
        FROM (SELECT b, (row_number() OVER (ORDER BY b) - 1) / size AS number FROM unnest(buckets) AS b) AS numbered
        GROUP BY number
    LOOP
        CASE "interval"
            WHEN '1m' THEN
                RETURN QUERY
                SELECT c.bucket, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trade_count, c.write_id
                FROM public.candles_1m AS c
                WHERE c.symbol = candles_at.symbol AND c.bucket = ANY (slice) AND c.bucket >= first AND c.bucket <= last;
            WHEN '5m' THEN
                RETURN QUERY
                SELECT c.bucket, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trade_count, c.write_id
                FROM public.candles_5m AS c
                WHERE c.symbol = candles_at.symbol AND c.bucket = ANY (slice) AND c.bucket >= first AND c.bucket <= last;
            WHEN '15m' THEN
                RETURN QUERY
                SELECT c.bucket, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trade_count, c.write_id
                FROM public.candles_15m AS c
                WHERE c.symbol = candles_at.symbol AND c.bucket = ANY (slice) AND c.bucket >= first AND c.bucket <= last;
            WHEN '30m' THEN
                RETURN QUERY
                SELECT c.bucket, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trade_count, c.write_id
                FROM public.candles_30m AS c
                WHERE c.symbol = candles_at.symbol AND c.bucket = ANY (slice) AND c.bucket >= first AND c.bucket <= last;
            WHEN '1h' THEN
                RETURN QUERY
                SELECT c.bucket, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trade_count, c.write_id
                FROM public.candles_1h AS c
                WHERE c.symbol = candles_at.symbol AND c.bucket = ANY (slice) AND c.bucket >= first AND c.bucket <= last;
            WHEN '4h' THEN
                RETURN QUERY
                SELECT c.bucket, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trade_count, c.write_id
                FROM public.candles_4h AS c
                WHERE c.symbol = candles_at.symbol AND c.bucket = ANY (slice) AND c.bucket >= first AND c.bucket <= last;
            WHEN '1d' THEN
                RETURN QUERY
                SELECT c.bucket, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trade_count, c.write_id
                FROM public.candles_1d AS c
                WHERE c.symbol = candles_at.symbol AND c.bucket = ANY (slice) AND c.bucket >= first AND c.bucket <= last;
        END CASE;
    END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION last_candle(
    "interval" text, symbol text, since timestamptz, until timestamptz, version bigint,
    OUT bucket timestamptz, OUT close numeric
)
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    -- Planned each time, so that TimescaleDB reads the chunks from the last one on.
    EXECUTE format(
        $sql$
            SELECT c.bucket, c.close
            FROM %s AS c
            WHERE c.bucket >= $2 AND c.bucket < $3 %s
            ORDER BY c.bucket DESC
            LIMIT 1
        $sql$,
        CASE
            WHEN version IS NULL THEN 'public.candles_' || "interval"
            ELSE format('public.candles_as_of(%L, $4, $1, $2, $3)', "interval")
        END,
        CASE WHEN version IS NULL THEN 'AND c.symbol = $1' ELSE '' END
    )
    INTO bucket, close
    USING symbol, since, until, version;
END
$$;

CREATE OR REPLACE FUNCTION last_trade_before(
    symbol text, moment timestamptz, version bigint, OUT bucket timestamptz, OUT close numeric
)
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    week constant timestamptz := public.time_bucket(INTERVAL '168 hours', moment);
BEGIN
    SELECT c.bucket, c.close INTO bucket, close FROM public.last_candle('1m', symbol, week, moment, version) AS c;
    IF bucket IS NULL THEN
        -- Weekly candles lead fast to one far back.
        SELECT c.bucket INTO bucket FROM public.last_candle('1w', symbol, '-infinity', week, version) AS c;
        SELECT c.bucket, c.close
        INTO bucket, close
        FROM public.last_candle('1m', symbol, bucket, bucket + INTERVAL '168 hours', version) AS c;
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION close_before(
    symbol text, ex_date date, moment timestamptz, calendar text, version bigint, newest bigint, late bigint[]
) RETURNS numeric
LANGUAGE plpgsql STABLE
AS $$
#variable_conflict use_column
DECLARE
    session record;
    last record;
    before timestamptz := moment;
BEGIN
    LOOP
        SELECT s.opens_at, s.auction_ends_at, s.break_starts_at, s.break_ends_at
        INTO session
        FROM public.calendar_sessions AS s
        WHERE s.calendar = close_before.calendar AND s.day < close_before.ex_date AND s.opens_at < before
            AND public.is_visible(s.write_id, s.ended_write_id, newest, late)
        ORDER BY s.day DESC
        LIMIT 1;
        IF NOT FOUND THEN
            RETURN (SELECT t.close FROM public.last_trade_before(symbol, moment, version) AS t);
        END IF;
        SELECT c.close
        INTO last
        FROM public.last_candle(
            '1m', symbol, coalesce(session.break_ends_at, session.opens_at), session.auction_ends_at, version
        ) AS c;
        IF last.close IS NULL AND session.break_starts_at IS NOT NULL THEN
            SELECT c.close
            INTO last
            FROM public.last_candle('1m', symbol, session.opens_at, session.break_starts_at, version) AS c;
        END IF;
        IF last.close IS NOT NULL THEN
            RETURN last.close;
        END IF;
        -- Days without trades are passed in one step.
        SELECT t.bucket INTO last FROM public.last_trade_before(symbol, session.opens_at, version) AS t;
        IF last.bucket IS NULL THEN
            RETURN NULL;
        END IF;
        before := last.bucket + INTERVAL '1 minute';
    END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION closes_of("interval" text, symbol text, buckets timestamptz[], version bigint)
RETURNS TABLE (bucket timestamptz, close numeric)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    first timestamptz;
    last timestamptz;
    slice timestamptz[];
BEGIN
    IF version IS NOT NULL OR "interval" NOT IN ('1m', '5m', '15m') THEN
        RETURN QUERY
        SELECT c.bucket, c.close FROM public.candles_at("interval", symbol, buckets, version) AS c;
        RETURN;
    END IF;
    -- In the columnstore, each column costs time for all rows of a batch.
    FOR first, last, slice IN
        SELECT min(b), max(b), array_agg(b)
        FROM (SELECT b, (row_number() OVER (ORDER BY b) - 1) / 50 AS number FROM unnest(buckets) AS b) AS numbered
        GROUP BY number
    LOOP
        CASE "interval"
            WHEN '1m' THEN
                RETURN QUERY
                SELECT c.bucket, c.close
                FROM public.candles_1m AS c
                WHERE c.symbol = closes_of.symbol AND c.bucket = ANY (slice) AND c.bucket >= first AND c.bucket <= last;
            WHEN '5m' THEN
                RETURN QUERY
                SELECT c.bucket, c.close
                FROM public.candles_5m AS c
                WHERE c.symbol = closes_of.symbol AND c.bucket = ANY (slice) AND c.bucket >= first AND c.bucket <= last;
            WHEN '15m' THEN
                RETURN QUERY
                SELECT c.bucket, c.close
                FROM public.candles_15m AS c
                WHERE c.symbol = closes_of.symbol AND c.bucket = ANY (slice) AND c.bucket >= first AND c.bucket <= last;
        END CASE;
    END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION closes_at(
    "interval" text, symbol text, starts timestamptz[], numbers integer[], size integer, version bigint
) RETURNS numeric[]
LANGUAGE sql STABLE
AS $$
    SELECT array_agg(close ORDER BY number)
    FROM generate_series(1, size) AS number
    LEFT JOIN (
        SELECT number, public.last(c.close, c.bucket) AS close
        FROM public.closes_of("interval", symbol, starts, version) AS c
        JOIN unnest(starts, numbers) AS wanted (start, number) ON wanted.start = c.bucket
        GROUP BY number
    ) AS closes USING (number)
$$;

CREATE OR REPLACE FUNCTION near_closes(
    symbol text, lows timestamptz[], highs timestamptz[], version bigint
) RETURNS numeric[]
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    names constant text[] := '{1m,5m,15m,30m,1h,4h,1d}';
    lengths constant interval[] := '{1 minute,5 minutes,15 minutes,30 minutes,1 hour,4 hours,24 hours}';
    size constant integer := cardinality(highs);
    -- The longest candles of which some end at the ends of all ranges.
    level constant integer := (
        SELECT max(step)
        FROM generate_series(1, 7) AS step
        WHERE NOT EXISTS (SELECT FROM unnest(highs) AS high WHERE public.time_bucket(lengths[step], high) <> high)
    );
    whole constant integer := greatest(level, 5);
    width constant interval := lengths[whole];
    starts timestamptz[];
    numbers integer[];
    closes numeric[] := array_fill(NULL::numeric, ARRAY[size]);
    earlier numeric[];
BEGIN
    -- The part of an hour before the ends, the hours or days before them, and at last earlier ones: weekends and holidays.
    FOR try IN 1 .. 3 LOOP
        IF try = 1 THEN
            CONTINUE WHEN level = whole;
            SELECT array_agg(start), array_agg(number)
            INTO starts, numbers
            FROM unnest(lows, highs) WITH ORDINALITY AS range (low, high, number)
            CROSS JOIN LATERAL generate_series(
                greatest(public.time_bucket(width, high), low), high - lengths[level], lengths[level]
            ) AS start
            WHERE public.time_bucket(lengths[level], start) = start;
        ELSE
            SELECT array_agg(start), array_agg(number)
            INTO starts, numbers
            FROM unnest(lows, highs, closes) WITH ORDINALITY AS range (low, high, close, number)
            CROSS JOIN LATERAL (
                SELECT public.time_bucket(width, high) - n * width AS start
                FROM generate_series(CASE try WHEN 2 THEN 1 ELSE 2 END, CASE try WHEN 2 THEN 1 ELSE 5 END) AS n
            ) AS tried
            WHERE close IS NULL AND start >= low;
        END IF;
        CONTINUE WHEN starts IS NULL;
        earlier := public.closes_at(
            names[CASE try WHEN 1 THEN level ELSE whole END], symbol, starts, numbers, size, version
        );
        IF array_position(closes, NULL) = 1 AND array_position(earlier, NULL) IS NULL THEN
            RETURN earlier;
        END IF;
        SELECT array_agg(coalesce(close, before) ORDER BY number)
        INTO closes
        FROM unnest(closes, earlier) WITH ORDINALITY AS found (close, before, number);
    END LOOP;
    RETURN closes;
END
$$;

CREATE OR REPLACE FUNCTION adjustment_steps(
    symbol text, adjustment text, version bigint DEFAULT NULL, since timestamptz DEFAULT '-infinity',
    OUT moments timestamptz[], OUT price_factors numeric[], OUT volume_factors numeric[]
)
LANGUAGE plpgsql STABLE
AS $$
#variable_conflict use_column
DECLARE
    types constant text[] := CASE adjustment
        WHEN 'raw' THEN '{}'
        WHEN 'split' THEN '{split,stock_dividend}'
        WHEN 'dividend' THEN '{cash_dividend}'
        WHEN 'all' THEN '{split,stock_dividend,cash_dividend,spin_off}'
    END;
    newest bigint := 9223372036854775807;
    late bigint[] := '{}';
    code text;
    zone text;
    first_day date;
    days date[];
    times timestamptz[];
    amounts numeric[];
    prices numeric[];
    volumes numeric[];
    lows timestamptz[];
    highs timestamptz[];
    closes numeric[];
    price numeric := 1;
    volume numeric := 1;
    last integer;
BEGIN
    IF types IS NULL THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('adjustment must be one of raw, split, dividend, all, not %L', adjustment);
    END IF;
    moments := '{}';
    price_factors := '{1}';
    volume_factors := '{1}';
    IF NOT EXISTS (
        SELECT
        FROM public.corporate_actions AS a
        WHERE a.symbol = adjustment_steps.symbol AND a.ex_date >= (since - INTERVAL '2 days')::date
    ) THEN
        RETURN;
    END IF;
    IF version IS NOT NULL THEN
        SELECT w.newest, w.late INTO newest, late FROM public.writes_as_of(adjustment_steps.version, 'infinity') AS w;
    END IF;
    SELECT c.code, c.time_zone
    INTO code, zone
    FROM public.symbol_calendars AS s
    JOIN public.calendars AS c ON c.code = s.calendar
    WHERE s.symbol = adjustment_steps.symbol AND public.is_visible(s.write_id, s.ended_write_id, newest, late);
    code := coalesce(code, '24/7');
    zone := coalesce(zone, 'UTC');
    SELECT
        array_agg(a.ex_date), array_agg(a.moment), array_agg(a.amount),
        array_agg(public.action_factor(a.denominator, a.numerator)),
        array_agg(CASE WHEN a.type = 'spin_off' THEN 1 ELSE public.action_factor(a.numerator, a.denominator) END)
    INTO days, times, amounts, prices, volumes
    FROM (
        SELECT a.*, public.effect_of(a.ex_date, zone) AS moment
        FROM public.corporate_actions AS a
        WHERE a.symbol = adjustment_steps.symbol AND a.type = ANY (types)
            AND public.is_visible(a.write_id, a.ended_write_id, newest, late)
        ORDER BY a.ex_date DESC, a.id
    ) AS a
    WHERE a.moment > since;
    IF times IS NULL THEN
        RETURN;
    END IF;
    IF cardinality(array_remove(amounts, NULL)) > 0 THEN
        IF code <> '24/7' THEN
            SELECT min(s.day)
            INTO first_day
            FROM public.calendar_sessions AS s
            WHERE s.calendar = code AND public.is_visible(s.write_id, s.ended_write_id, newest, late);
        END IF;
        -- The range in which the last trade is the one that a dividend is compared with. The bound of the days lets the
        -- planner use the index, whatever it knows of the visible rows.
        IF first_day IS NULL THEN
            lows := array_fill('-infinity'::timestamptz, ARRAY[cardinality(times)]);
            highs := times;
        ELSE
            SELECT
                array_agg(
                    CASE WHEN a.day > first_day THEN coalesce(s.break_ends_at, s.opens_at) ELSE '-infinity' END
                    ORDER BY number
                ),
                array_agg(CASE WHEN a.day > first_day THEN s.auction_ends_at ELSE a.moment END ORDER BY number)
            INTO lows, highs
            FROM unnest(days, times) WITH ORDINALITY AS a (day, moment, number)
            LEFT JOIN LATERAL (
                SELECT s.opens_at, s.break_ends_at, s.auction_ends_at
                FROM public.calendar_sessions AS s
                WHERE s.calendar = code AND s.day >= a.day - 15 AND s.day < a.day
                    AND public.is_visible(s.write_id, s.ended_write_id, newest, late)
                ORDER BY s.day DESC
                LIMIT 1
            ) AS s ON true;
        END IF;
        closes := public.near_closes(symbol, lows, highs, version);
    END IF;
    FOR number IN 1 .. cardinality(times) LOOP
        IF amounts[number] IS NULL THEN
            price := round(price * prices[number], 30);
            volume := round(volume * volumes[number], 30);
        ELSE
            IF closes[number] IS NULL THEN
                closes[number] :=
                    public.close_before(symbol, days[number], times[number], code, version, newest, late);
                -- Without an earlier trade there is nothing to adjust.
                CONTINUE WHEN closes[number] IS NULL;
            END IF;
            CONTINUE WHEN amounts[number] >= closes[number];
            price := round(price * public.action_factor(closes[number] - amounts[number], closes[number]), 30);
        END IF;
        IF moments[last] = times[number] THEN
            price_factors[last + 1] := price;
            volume_factors[last + 1] := volume;
        ELSE
            moments := array_append(moments, times[number]);
            price_factors := array_append(price_factors, price);
            volume_factors := array_append(volume_factors, volume);
            last := cardinality(moments);
        END IF;
    END LOOP;
    SELECT
        coalesce(array_agg(m ORDER BY number DESC) FILTER (WHERE m IS NOT NULL), '{}'),
        array_agg(p ORDER BY number DESC), array_agg(v ORDER BY number DESC)
    INTO moments, price_factors, volume_factors
    FROM unnest(moments, price_factors, volume_factors) WITH ORDINALITY AS step (m, p, v, number);
END
$$;

CREATE OR REPLACE FUNCTION adjustment_factors(symbol text, adjustment text, version bigint DEFAULT NULL)
RETURNS TABLE (since timestamptz, until timestamptz, price_factor numeric, volume_factor numeric)
LANGUAGE sql STABLE
AS $$
    SELECT
        coalesce(moments[number - 1], '-infinity'), coalesce(moments[number], 'infinity'),
        price_factors[number], volume_factors[number]
    FROM public.adjustment_steps(symbol, adjustment, version)
    CROSS JOIN generate_series(1, cardinality(price_factors)) AS number
$$;

CREATE OR REPLACE FUNCTION stepped_parts(
    "interval" text, symbol text, buckets timestamptz[],
    moments timestamptz[], price_factors numeric[], volume_factors numeric[], version bigint
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
    divided constant timestamptz[] := ARRAY(
        SELECT DISTINCT start
        FROM (SELECT m, public.time_bucket(width, m) AS start FROM unnest(moments) AS m) AS found
        WHERE start <> m AND start = ANY (buckets)
    );
BEGIN
    RETURN QUERY
    SELECT
        c.bucket, c.open * f.price, c.high * f.price, c.low * f.price, c.close * f.price, c.volume * f.volume,
        c.turnover * f.price * f.volume, c.trade_count, c.write_id
    FROM public.candles_at("interval", symbol, buckets, version) AS c
    CROSS JOIN LATERAL (
        SELECT price_factors[number] AS price, volume_factors[number] AS volume
        FROM (SELECT width_bucket(c.bucket, moments) + 1 AS number) AS step
        OFFSET 0
    ) AS f
    WHERE c.bucket <> ALL (divided);
    IF cardinality(divided) > 0 THEN
        RETURN QUERY
        SELECT
            public.time_bucket(width, p.bucket), public.first(p.open, p.bucket), max(p.high), min(p.low),
            public.last(p.close, p.bucket), sum(p.volume), sum(p.turnover), sum(p.trade_count)::bigint, max(p.write_id)
        FROM public.stepped_parts(
            names[level - 1], symbol,
            ARRAY(
                SELECT generate_series(d, d + width - INTERVAL '1 microsecond', lengths[level - 1]) FROM unnest(divided) AS d
            ),
            moments, price_factors, volume_factors, version
        ) AS p
        GROUP BY 1;
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION stepped_candles(
    "interval" text, symbol text, since timestamptz, until timestamptz,
    moments timestamptz[], price_factors numeric[], volume_factors numeric[], version bigint
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
    divided timestamptz[];
BEGIN
    IF level IS NULL THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('interval must be one of %s, not %L', array_to_string(names, ', '), "interval");
    ELSIF cardinality(moments) = 0 THEN
        RETURN QUERY
        SELECT c.bucket, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trade_count, c.write_id
        FROM public.stored_candles("interval", symbol, since, until, version) AS c;
        RETURN;
    END IF;
    divided := ARRAY(
        SELECT DISTINCT start
        FROM (SELECT m, public.time_bucket(width, m) AS start FROM unnest(moments) AS m) AS found
        WHERE start <> m AND start >= since AND start < until
    );
    RETURN QUERY
    SELECT
        c.bucket, c.open * f.price, c.high * f.price, c.low * f.price, c.close * f.price, c.volume * f.volume,
        c.turnover * f.price * f.volume, c.trade_count, c.write_id
    FROM public.stored_candles("interval", symbol, since, until, version) AS c
    CROSS JOIN LATERAL (
        SELECT price_factors[number] AS price, volume_factors[number] AS volume
        FROM (SELECT width_bucket(c.bucket, moments) + 1 AS number) AS step
        OFFSET 0
    ) AS f
    WHERE c.bucket <> ALL (divided);
    -- A bucket in which an action takes effect consists of shorter candles, each with its own factor.
    IF cardinality(divided) > 0 THEN
        RETURN QUERY
        SELECT
            public.time_bucket(width, p.bucket), public.first(p.open, p.bucket), max(p.high), min(p.low),
            public.last(p.close, p.bucket), sum(p.volume), sum(p.turnover), sum(p.trade_count)::bigint, max(p.write_id)
        FROM public.stepped_parts(
            names[level - 1], symbol,
            ARRAY(
                SELECT generate_series(d, d + width - INTERVAL '1 microsecond', lengths[level - 1]) FROM unnest(divided) AS d
            ),
            moments, price_factors, volume_factors, version
        ) AS p
        GROUP BY 1;
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION adjusted_candles(
    "interval" text, symbol text, since timestamptz, until timestamptz, adjustment text, version bigint DEFAULT NULL
)
RETURNS TABLE (
    bucket timestamptz, open numeric, high numeric, low numeric, close numeric, volume numeric, turnover numeric,
    trade_count bigint, write_id bigint
)
LANGUAGE sql STABLE
AS $$
    SELECT c.bucket, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trade_count, c.write_id
    FROM public.adjustment_steps(symbol, adjustment, version, since) AS s
    CROSS JOIN LATERAL public.stepped_candles(
        "interval", symbol, since, until, s.moments, s.price_factors, s.volume_factors, version
    ) AS c
$$;
