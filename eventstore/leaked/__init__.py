"""What leaked besides secrets, looked up in the log."""
