"""Trusted issuers (RFC 7523): whose assertions are grants."""

from commands.grants import known_scopes
from domain.decision import Outcome
from domain.keys import trusted_issuer
from domain.keys.trusted_issuer import Trusted
from eventstore.command import Command
from eventstore.view import View


def put(name: str, terms: Trusted, *, issuer: str) -> Command[trusted_issuer.State]:
    """Trusts an issuer, or under other terms. `issuer` is this server."""

    def decide(state: trusted_issuer.State, view: View) -> Outcome:
        known = known_scopes(view, terms.scope[: trusted_issuer.SCOPES_MAXIMUM])
        return trusted_issuer.put(state, now=view.now, name=name, terms=terms, known=known, own=issuer)

    return Command(trusted_issuer.STREAM, decide)


def remove(name: str) -> Command[trusted_issuer.State]:
    """Trusts an issuer no longer."""
    return Command(trusted_issuer.STREAM, lambda state, view: trusted_issuer.remove(state, now=view.now, name=name))
