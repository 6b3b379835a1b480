"""The OAuth 2.0 endpoints, one page each, and how clients and people are authenticated at them."""
