-- Frozen: part of revision 0022, never edited.
DROP FUNCTION adjusted_candles(text, text, timestamptz, timestamptz, text, bigint);
DROP FUNCTION stepped_candles(text, text, timestamptz, timestamptz, timestamptz[], numeric[], numeric[], bigint);
DROP FUNCTION stepped_parts(text, text, timestamptz[], timestamptz[], numeric[], numeric[], bigint);
DROP FUNCTION adjustment_factors(text, text, bigint);
DROP FUNCTION adjustment_steps(text, text, bigint, timestamptz);
DROP FUNCTION near_closes(text, timestamptz[], timestamptz[], bigint);
DROP FUNCTION closes_at(text, text, timestamptz[], integer[], integer, bigint);
DROP FUNCTION close_before(text, date, timestamptz, text, bigint, bigint, bigint[]);
DROP FUNCTION last_trade_before(text, timestamptz, bigint);
DROP FUNCTION last_candle(text, text, timestamptz, timestamptz, bigint);
DROP FUNCTION candles_at(text, text, timestamptz[], bigint);
DROP FUNCTION stored_candles(text, text, timestamptz, timestamptz, bigint);
DROP FUNCTION effect_of(date, text);
DROP FUNCTION action_factor(numeric, numeric);
DROP TABLE corporate_actions;
