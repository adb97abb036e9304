"""Decisions without effects: table, split, picker, retries. No clock, no sockets."""
