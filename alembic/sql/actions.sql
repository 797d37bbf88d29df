-- Present text of the functions of corporate actions.
-- Functions that answers are computed with have no SET clause and name the schema, as those of past.sql.

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
AS $$
#variable_conflict use_column
BEGIN
    IF version IS NOT NULL THEN
        RETURN QUERY
        SELECT c.bucket, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trade_count, c.write_id
        FROM public.candles_as_of("interval", version, symbol, since, until) AS c;
        RETURN;
    END IF;
    -- Static statements, whose plans are kept: planning takes longer than reading a year of days.
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
AS $$
#variable_conflict use_column
DECLARE
    first constant timestamptz := (SELECT min(b) FROM unnest(buckets) AS b);
    last constant timestamptz := (SELECT max(b) FROM unnest(buckets) AS b);
BEGIN
    IF first IS NULL THEN
        RETURN;
    ELSIF version IS NOT NULL THEN
        RETURN QUERY
        SELECT c.bucket, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trade_count, c.write_id
        FROM public.candles_as_of("interval", version, symbol, first, last + INTERVAL '1 microsecond') AS c
        WHERE c.bucket = ANY (buckets);
        RETURN;
    END IF;
    CASE "interval"
        WHEN '1m' THEN
            RETURN QUERY
            SELECT c.bucket, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trade_count, c.write_id
            FROM public.candles_1m AS c
            WHERE c.symbol = candles_at.symbol AND c.bucket = ANY (buckets) AND c.bucket >= first AND c.bucket <= last;
        WHEN '5m' THEN
            RETURN QUERY
            SELECT c.bucket, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trade_count, c.write_id
            FROM public.candles_5m AS c
            WHERE c.symbol = candles_at.symbol AND c.bucket = ANY (buckets) AND c.bucket >= first AND c.bucket <= last;
        WHEN '15m' THEN
            RETURN QUERY
            SELECT c.bucket, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trade_count, c.write_id
            FROM public.candles_15m AS c
            WHERE c.symbol = candles_at.symbol AND c.bucket = ANY (buckets) AND c.bucket >= first AND c.bucket <= last;
        WHEN '30m' THEN
            RETURN QUERY
            SELECT c.bucket, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trade_count, c.write_id
            FROM public.candles_30m AS c
            WHERE c.symbol = candles_at.symbol AND c.bucket = ANY (buckets) AND c.bucket >= first AND c.bucket <= last;
        WHEN '1h' THEN
            RETURN QUERY
            SELECT c.bucket, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trade_count, c.write_id
            FROM public.candles_1h AS c
            WHERE c.symbol = candles_at.symbol AND c.bucket = ANY (buckets) AND c.bucket >= first AND c.bucket <= last;
        WHEN '4h' THEN
            RETURN QUERY
            SELECT c.bucket, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trade_count, c.write_id
            FROM public.candles_4h AS c
            WHERE c.symbol = candles_at.symbol AND c.bucket = ANY (buckets) AND c.bucket >= first AND c.bucket <= last;
        WHEN '1d' THEN
            RETURN QUERY
            SELECT c.bucket, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trade_count, c.write_id
            FROM public.candles_1d AS c
            WHERE c.symbol = candles_at.symbol AND c.bucket = ANY (buckets) AND c.bucket >= first AND c.bucket <= last;
    END CASE;
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

CREATE OR REPLACE FUNCTION closes_at(
    "interval" text, symbol text, starts timestamptz[], numbers integer[], size integer, version bigint
) RETURNS numeric[]
LANGUAGE sql STABLE
AS $$
    SELECT array_agg(close ORDER BY number)
    FROM generate_series(1, size) AS number
    LEFT JOIN (
        SELECT number, public.last(c.close, c.bucket) AS close
        FROM public.candles_at("interval", symbol, starts, version) AS c
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
    names constant text[] := '{1m,5m,15m,30m,1h}';
    lengths constant interval[] := '{1 minute,5 minutes,15 minutes,30 minutes,1 hour}';
    size constant integer := cardinality(highs);
    hour constant interval := '1 hour';
    level integer;
    starts timestamptz[];
    numbers integer[];
    closes numeric[];
    earlier numeric[];
BEGIN
    IF NOT EXISTS (SELECT FROM unnest(highs) AS high WHERE public.time_bucket('24 hours', high) <> high) THEN
        -- Five days, because of weekends and holidays.
        SELECT array_agg(high - days * INTERVAL '24 hours'), array_agg(number)
        INTO starts, numbers
        FROM unnest(lows, highs) WITH ORDINALITY AS range (low, high, number)
        CROSS JOIN generate_series(1, 5) AS days
        WHERE high - days * INTERVAL '24 hours' >= low;
        RETURN public.closes_at('1d', symbol, starts, numbers, size, version);
    END IF;
    SELECT max(step)
    INTO level
    FROM generate_series(1, 5) AS step
    WHERE NOT EXISTS (SELECT FROM unnest(highs) AS high WHERE public.time_bucket(lengths[step], high) <> high);
    -- The part of an hour before the end of a range, then the last whole hours.
    IF level < 5 THEN
        SELECT array_agg(start), array_agg(number)
        INTO starts, numbers
        FROM unnest(lows, highs) WITH ORDINALITY AS range (low, high, number)
        CROSS JOIN LATERAL generate_series(
            greatest(public.time_bucket(hour, high), low), high - lengths[level], lengths[level]
        ) AS start
        WHERE public.time_bucket(lengths[level], start) = start;
        closes := public.closes_at(names[level], symbol, starts, numbers, size, version);
    ELSE
        closes := array_fill(NULL::numeric, ARRAY[size]);
    END IF;
    SELECT array_agg(public.time_bucket(hour, high) - hours * hour), array_agg(number)
    INTO starts, numbers
    FROM unnest(lows, highs, closes) WITH ORDINALITY AS range (low, high, close, number)
    CROSS JOIN generate_series(1, 2) AS hours
    WHERE close IS NULL AND public.time_bucket(hour, high) - hours * hour >= low;
    IF starts IS NOT NULL THEN
        earlier := public.closes_at('1h', symbol, starts, numbers, size, version);
        SELECT array_agg(coalesce(close, before) ORDER BY number)
        INTO closes
        FROM unnest(closes, earlier) WITH ORDINALITY AS found (close, before, number);
    END IF;
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
    action record;
    lows timestamptz[];
    highs timestamptz[];
    closes numeric[];
    close numeric;
    price numeric := 1;
    volume numeric := 1;
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
    -- The range in which the last trade is the one that a dividend is compared with.
    SELECT
        array_agg(coalesce(s.break_ends_at, s.opens_at, '-infinity') ORDER BY a.ex_date DESC, a.id),
        array_agg(coalesce(s.auction_ends_at, public.effect_of(a.ex_date, zone)) ORDER BY a.ex_date DESC, a.id)
    INTO lows, highs
    FROM public.corporate_actions AS a
    LEFT JOIN LATERAL (
        SELECT s.opens_at, s.break_ends_at, s.auction_ends_at
        FROM public.calendar_sessions AS s
        WHERE s.calendar = code AND s.day < a.ex_date AND public.is_visible(s.write_id, s.ended_write_id, newest, late)
        ORDER BY s.day DESC
        LIMIT 1
    ) AS s ON true
    WHERE a.symbol = adjustment_steps.symbol AND a.type = ANY (types) AND a.amount IS NOT NULL
        AND public.is_visible(a.write_id, a.ended_write_id, newest, late) AND public.effect_of(a.ex_date, zone) > since;
    IF highs IS NOT NULL THEN
        closes := public.near_closes(symbol, lows, highs, version);
    END IF;
    FOR action IN
        SELECT
            a.ex_date, a.type, a.numerator, a.denominator, a.amount, public.effect_of(a.ex_date, zone) AS moment,
            count(a.amount) OVER (ORDER BY a.ex_date DESC, a.id) AS number
        FROM public.corporate_actions AS a
        WHERE a.symbol = adjustment_steps.symbol AND a.type = ANY (types)
            AND public.is_visible(a.write_id, a.ended_write_id, newest, late) AND public.effect_of(a.ex_date, zone) > since
        ORDER BY a.ex_date DESC, a.id
    LOOP
        IF action.amount IS NULL THEN
            price := round(price * public.action_factor(action.denominator, action.numerator), 30);
            IF action.type <> 'spin_off' THEN
                volume := round(volume * public.action_factor(action.numerator, action.denominator), 30);
            END IF;
        ELSE
            close := coalesce(
                closes[action.number],
                public.close_before(symbol, action.ex_date, action.moment, code, version, newest, late)
            );
            -- Without an earlier trade there is nothing to adjust.
            CONTINUE WHEN close IS NULL OR action.amount >= close;
            price := round(price * public.action_factor(close - action.amount, close), 30);
        END IF;
        IF moments[1] = action.moment THEN
            price_factors[1] := price;
            volume_factors[1] := volume;
        ELSE
            moments := action.moment || moments;
            price_factors := price || price_factors;
            volume_factors := volume || volume_factors;
        END IF;
    END LOOP;
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
