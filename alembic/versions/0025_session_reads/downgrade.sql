-- Frozen: part of revision 0025, never edited.
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

DROP FUNCTION closes_of(text, text, timestamptz[], bigint);
