"""Replays: the past of `/stream` and `/ws`, played with the events of the live stream.

    commits, trades → KnownSource or TimeSource → moments → Player → messages

A source reads pages of commits or trades and yields moments: the events that happened together. The player sends each
moment at its virtual time. Candles are aggregated here, trade by trade; a candle that this can't continue is read as of the
version.
"""
