"""The log in numbers."""
