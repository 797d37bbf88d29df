-- Frozen: part of revision 0019, never edited.
DROP TABLE audit_differences, audit_versions, audit_days;
