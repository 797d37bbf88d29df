-- Present text of the functions and views of names over time.

CREATE OR REPLACE FUNCTION symbol_names_changed() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM pg_notify('market_data_names', '');
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION symbol_names_changed() IS 'Tells services to read the names again.';

CREATE OR REPLACE FUNCTION symbol_of(name text, "at" timestamptz DEFAULT NULL) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT coalesce(
        (
            SELECT symbol
            FROM symbol_names
            WHERE symbol_names.name = $1
            ORDER BY
                $2 IS NOT NULL AND coalesce(since <= $2, true) AND coalesce($2 < until, true) DESC,
                until DESC NULLS FIRST
            LIMIT 1
        ),
        $1
    )
$$;

COMMENT ON FUNCTION symbol_of(text, timestamptz) IS
    'Key of the instrument that had a name at a time, as trades.symbol. If none had it then, or without a time: of the one '
    'that has the name, or had it last.';

CREATE OR REPLACE VIEW trades_named AS
SELECT
    coalesce(names.name, split_part(trades.symbol, '~', 1)) AS name,
    trades.symbol, trades.time, trades.trade_id, trades.price, trades.volume, trades.write_id
FROM trades
LEFT JOIN symbol_names AS names
    ON names.symbol = trades.symbol
    AND (names.since IS NULL OR names.since <= trades.time) AND (names.until IS NULL OR trades.time < names.until);
