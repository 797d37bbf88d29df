"""Calendars of trading sessions: where their sessions come from, and how changes of them are stored."""
