"""The keys of the log: of its events, of the people in them, and the proof that the right master key is there."""
