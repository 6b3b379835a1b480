"""Requests that wait for what a person decides, each a stream of its own."""
