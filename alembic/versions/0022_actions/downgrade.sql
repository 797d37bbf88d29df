-- Frozen: part of revision 0022, never edited.
DROP FUNCTION adjusted_candles(text, text, timestamptz, timestamptz, text, bigint);
DROP FUNCTION adjustment_factors(text, text, bigint);
DROP FUNCTION adjustment_steps(text, text, bigint, timestamptz);
DROP FUNCTION close_before(text, date, timestamptz, text, bigint, bigint, bigint[]);
DROP FUNCTION last_trade_before(text, timestamptz, bigint);
DROP FUNCTION last_candle(text, text, timestamptz, timestamptz, bigint);
DROP FUNCTION action_factor(numeric, numeric);
DROP TABLE corporate_actions;
