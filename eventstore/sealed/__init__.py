"""Segments as files: how they look, where they are, and the events that are read from them alone."""
