"""The OAuth 2.0 endpoints for programs, one page each, and how clients, people and bearers are authenticated."""
