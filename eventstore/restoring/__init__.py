"""A copy of the database brought to life in a second place, and held against the log that it is a copy of."""
