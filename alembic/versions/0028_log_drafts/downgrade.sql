-- Frozen: part of revision 0028, never edited.

DELETE FROM log_parts WHERE entry < 0;
DROP TRIGGER log_parts_kept ON log_parts;
DROP TRIGGER log_parts_appended ON log_parts;
CREATE TRIGGER log_parts_appended BEFORE UPDATE OR DELETE OR TRUNCATE ON log_parts
FOR EACH STATEMENT EXECUTE FUNCTION log_appended();
DROP FUNCTION log_part_appended();
ALTER TABLE log_parts ADD CONSTRAINT log_parts_entry_fkey FOREIGN KEY (entry) REFERENCES log_entries (index);

COMMENT ON COLUMN log_parts.entry IS 'Index of the entry.';
