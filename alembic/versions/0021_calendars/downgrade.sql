-- Frozen: part of revision 0021, never edited.
DROP FUNCTION candle_minutes(text, timestamptz[]);
DROP TRIGGER symbol_calendar_changed ON symbols;
DROP FUNCTION symbol_calendar_changed();
DROP TABLE symbol_calendars;

ALTER TABLE symbols
    DROP COLUMN type,
    DROP COLUMN calendar,
    DROP COLUMN tick_size,
    DROP COLUMN listed,
    DROP COLUMN delisted,
    DROP COLUMN description,
    DROP COLUMN aliases;

DROP VIEW sessions;
DROP FUNCTION session_changed();
DROP TABLE calendar_sessions, calendars;
DROP FUNCTION calendar_sessions_changed();
DROP FUNCTION is_visible(bigint, bigint, bigint, bigint[]);
DROP FUNCTION reference_write();

COMMENT ON COLUMN commits.kind IS
    'store: trades were stored; correct: trades were corrected, or got another symbol, time or trade_id (a cancel in '
    'trade_changes); cancel: trades were deleted; truncate: all trades were deleted; '
    'close: candles closed; revise: closed candles changed; restore: the database was restored from a backup, and versions '
    'between the previous row and this one may have been used before.';
COMMENT ON COLUMN commits.write_id IS 'The statement: trades.write_id, trade_changes.write_id or stream_events.write_id.';
