"""The only writer of the log, and the only seam to the `eventsourcing` library."""
