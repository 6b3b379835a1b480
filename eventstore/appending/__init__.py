"""Appends to the log, with the rows that go with its events: who waits, in which transaction, and what is in it."""
