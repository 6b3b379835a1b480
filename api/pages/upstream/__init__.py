"""The pages between this server and other OpenID providers."""
