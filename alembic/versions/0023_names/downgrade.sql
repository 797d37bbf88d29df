-- Frozen: part of revision 0023, never edited.
-- Fails while there is an instrument with a key such as META~2.
DROP VIEW trades_named;
DROP FUNCTION symbol_of(text, timestamptz);
DROP TABLE symbol_names;
DROP FUNCTION symbol_names_changed();

ALTER TABLE symbols
    DROP CONSTRAINT symbols_symbol_form,
    ADD CONSTRAINT symbols_symbol_form
        CHECK (symbol ~ '^(?:\.?[A-Z0-9]|[$^])(?: ?[A-Z0-9._/^=:+&#@!*$()-])*$' AND length(symbol) <= 64);

COMMENT ON COLUMN symbols.symbol IS
    'Symbol in upper case: letters, digits, single spaces and . _ / ^ = : + & # @ ! * $ ( ) -, at most 64 characters.';
