"""Formats of the transparency log, without a database: entries, Merkle trees, notes and receipts."""
