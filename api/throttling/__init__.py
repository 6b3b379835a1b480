"""What is throttled beyond the rules themselves."""
