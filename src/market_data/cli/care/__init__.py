"""Commands that check, save and restore the database."""
