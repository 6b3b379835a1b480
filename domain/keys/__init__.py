"""The server's own keys, each kind on a page: what signs the log, what authenticates its events, what signs tokens."""
