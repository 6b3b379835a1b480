"""Whom the server tells of what happens, by their choice and not by a setting."""
