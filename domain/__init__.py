"""Facts and decisions of the authorization server: pure code, no I/O, no clock, no randomness, no framework."""
