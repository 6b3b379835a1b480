"""What happened, read on the command line: the answers of `/audit`, with the system's user as whoever asks."""
