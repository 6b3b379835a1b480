"""What events name, in rows: how they go over, and those of events that stand in segments alone."""
