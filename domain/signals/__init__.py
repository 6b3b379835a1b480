"""Security events about people, for programs that want to hear of them (OpenID Shared Signals Framework 1.0)."""
