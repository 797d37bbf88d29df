-- Frozen: part of revision 0028, never edited. The present text of functions is in alembic/sql/.
-- The parts of a large entry of candles are 300 MB of text, which the embedded engine compresses for a minute and a half. In
-- one transaction, no other client would be served meanwhile. So they are stored as drafts first, a few at a time, and get the
-- index of their entry in its transaction, which does not touch their text. A foreign key would reject drafts: a trigger
-- demands the entry instead. Drafts of a service that was killed are in no entry, and the next one deletes them.

ALTER TABLE log_parts DROP CONSTRAINT log_parts_entry_fkey;

CREATE FUNCTION log_part_appended() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND old.entry >= 0 THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('the log is append-only: no %s of %s', TG_OP, TG_TABLE_NAME);
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN old;
    END IF;
    IF new.entry >= 0 AND NOT EXISTS (SELECT FROM log_entries WHERE index = new.entry) THEN
        RAISE foreign_key_violation USING
            MESSAGE = format('entry %s of the log, which the part belongs to, does not exist', new.entry);
    END IF;
    RETURN new;
END
$$;

COMMENT ON FUNCTION log_part_appended() IS
    'Before changes of log_parts: rejects parts without their entry, and all changes but those of drafts.';

REVOKE EXECUTE ON FUNCTION log_part_appended() FROM PUBLIC;

DROP TRIGGER log_parts_appended ON log_parts;
CREATE TRIGGER log_parts_appended BEFORE INSERT OR UPDATE OR DELETE ON log_parts
FOR EACH ROW EXECUTE FUNCTION log_part_appended();
CREATE TRIGGER log_parts_kept BEFORE TRUNCATE ON log_parts
FOR EACH STATEMENT EXECUTE FUNCTION log_appended();

COMMENT ON COLUMN log_parts.entry IS 'Index of the entry; -1 for drafts of the entry that is being written.';
