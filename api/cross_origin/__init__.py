"""Pages of other origins at the JSON API."""
