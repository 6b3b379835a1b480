"""The HTTP server: composition root, one file per endpoint, pages."""
