"""What a person's browser shows: signing in and out, approving an application (RFC 6749 §3.1), their account."""
