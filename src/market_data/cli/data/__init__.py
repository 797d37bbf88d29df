"""Commands that move data."""
