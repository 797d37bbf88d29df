-- Frozen: part of revision 0020, never edited.
-- The currency of a symbol's prices.

ALTER TABLE symbols
    ADD COLUMN currency text NOT NULL DEFAULT 'USD',
    ADD CONSTRAINT symbols_currency_form CHECK (currency ~ '^[A-Z][A-Z0-9]{1,11}$');

COMMENT ON COLUMN symbols.currency IS
    'Currency of the prices: an ISO 4217 code such as USD, or that of a crypto asset such as USDT.';
