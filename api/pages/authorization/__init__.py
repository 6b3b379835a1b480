"""The authorization endpoint (RFC 6749 §3.1): what a client asks for, what the person says to it, and the answer."""
