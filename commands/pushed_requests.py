"""Authorization requests that clients push (RFC 9126): received as facts, and answered."""

from domain.requests import pushed_request
from domain.requests.pushed_request import PersonsAnswer
from eventstore.command import Command

LIFETIME = 60
"""Seconds within which a pushed request is to be opened."""


def receive(
    request_id: str,
    *,
    client_id: str,
    secret_id: str | None,
    key_id: str | None,
    request_uri: str,
    redirect_uri: str,
    asked: str | None,
) -> Command[pushed_request.State]:
    """An authenticated client pushed a request; `request_uri` is the digest of its reference, in hex."""
    return Command(
        pushed_request.stream(request_id),
        lambda state, view: pushed_request.receive(
            state,
            now=view.now,
            client_id=client_id,
            secret_id=secret_id,
            key_id=key_id,
            request_uri=request_uri,
            lifetime=LIFETIME,
            redirect_uri=redirect_uri,
            asked=asked,
        ),
        starts=True,
    )


def decide(
    request_id: str, *, client_id: str, account_id: str, answer: PersonsAnswer, grant_id: str | None = None
) -> Command[pushed_request.State]:
    """A person answered it; with the grant that came of it, in one transaction with that."""
    return Command(
        pushed_request.stream(request_id),
        lambda state, view: pushed_request.decide(
            state, now=view.now, client_id=client_id, account_id=account_id, answer=answer, grant_id=grant_id
        ),
    )
