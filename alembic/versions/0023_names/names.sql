-- Frozen: part of revision 0023, never edited. The present text of functions and views is in alembic/sql/.
-- Names of instruments over time.

-- Keys of instruments whose name was that of another one before end in ~2, ~3 and so on. Clients can't give such names.
ALTER TABLE symbols
    DROP CONSTRAINT symbols_symbol_form,
    ADD CONSTRAINT symbols_symbol_form CHECK (
        symbol ~ '^(?:\.?[A-Z0-9]|[$^])(?: ?[A-Z0-9._/^=:+&#@!*$()-])*(?:~[1-9][0-9]*)?$'
        AND length(split_part(symbol, '~', 1)) <= 64
    );

COMMENT ON COLUMN symbols.symbol IS
    'Key of the instrument: the symbol under which it was added, in upper case, at most 64 letters, digits, single spaces and '
    '. _ / ^ = : + & # @ ! * $ ( ) -; followed by ~2 if another instrument had that name before. symbol_names has later names.';

CREATE TABLE symbol_names (
    name text NOT NULL,
    symbol text NOT NULL,
    since timestamptz,
    until timestamptz,
    actor text,
    reason text,
    changed_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT symbol_names_range_not_empty CHECK (since < until),
    CONSTRAINT symbol_names_name_form CHECK (
        name ~ '^(?:\.?[A-Z0-9]|[$^])(?: ?[A-Z0-9._/^=:+&#@!*$()-])*$' AND length(name) <= 64
    )
);

CREATE UNIQUE INDEX symbol_names_present_name ON symbol_names (name) WHERE until IS NULL;
CREATE UNIQUE INDEX symbol_names_of_symbol ON symbol_names (symbol, since) NULLS NOT DISTINCT;

COMMENT ON TABLE symbol_names IS
    'Names of renamed instruments, each for a range of time. An instrument without rows always had its key as its name.';
COMMENT ON COLUMN symbol_names.name IS 'The name, in upper case.';
COMMENT ON COLUMN symbol_names.symbol IS 'Key of the instrument, as trades.symbol.';
COMMENT ON COLUMN symbol_names.since IS 'Start of the range, inclusive; null: since ever.';
COMMENT ON COLUMN symbol_names.until IS 'End of the range, exclusive; null for the present name.';
COMMENT ON COLUMN symbol_names.actor IS 'Name of the API key that gave the name; null for a first name.';
COMMENT ON COLUMN symbol_names.reason IS 'Reason for the name, as given.';
COMMENT ON COLUMN symbol_names.changed_at IS 'Time at which the name was stored.';
COMMENT ON INDEX symbol_names_present_name IS 'No two instruments have the same name at present.';
COMMENT ON INDEX symbol_names_of_symbol IS 'Names of an instrument in their order.';

CREATE FUNCTION symbol_names_changed() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM pg_notify('market_data_names', '');
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION symbol_names_changed() IS 'Tells services to read the names again.';

CREATE TRIGGER symbol_names_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON symbol_names
FOR EACH STATEMENT EXECUTE FUNCTION symbol_names_changed();

CREATE FUNCTION symbol_of(name text, "at" timestamptz DEFAULT NULL) RETURNS text
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

CREATE VIEW trades_named AS
SELECT
    coalesce(names.name, split_part(trades.symbol, '~', 1)) AS name,
    trades.symbol, trades.time, trades.trade_id, trades.price, trades.volume, trades.write_id
FROM trades
LEFT JOIN symbol_names AS names
    ON names.symbol = trades.symbol
    AND (names.since IS NULL OR names.since <= trades.time) AND (names.until IS NULL OR trades.time < names.until);

COMMENT ON VIEW trades_named IS 'Trades with the name that their symbol had at the time of the trade.';
COMMENT ON COLUMN trades_named.name IS 'Name of the symbol at the time of the trade.';
COMMENT ON COLUMN trades_named.symbol IS 'Key of the symbol, which renames leave as it is: symbol_of(name).';
COMMENT ON COLUMN trades_named.time IS 'Time of the trade.';
COMMENT ON COLUMN trades_named.trade_id IS 'Distinguishes trades of one symbol at one time.';
COMMENT ON COLUMN trades_named.price IS 'Price of one unit.';
COMMENT ON COLUMN trades_named.volume IS 'Units traded.';
COMMENT ON COLUMN trades_named.write_id IS 'The statement that stored or last corrected the trade, as commits.write_id.';
