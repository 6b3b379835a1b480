"""Logs of any length, made faster than a server would write them."""
