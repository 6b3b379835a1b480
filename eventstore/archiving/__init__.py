"""Sealed segments: old events of streams that have ended, outside the database."""
