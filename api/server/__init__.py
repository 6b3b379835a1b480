"""The HTTP server around the app: a parent, its workers, and what each does with its connections."""
