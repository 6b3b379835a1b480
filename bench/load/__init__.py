"""What sends requests, and how they look."""
