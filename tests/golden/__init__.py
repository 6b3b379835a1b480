"""Golden files: the stored data of every event, kept for ever, and the list of all tags."""
