"""Telling people what they must know at once: signed webhooks and e-mail, from an outbox, at least once."""
