-- Frozen: part of revision 0020, never edited.
ALTER TABLE symbols
    DROP COLUMN currency;
