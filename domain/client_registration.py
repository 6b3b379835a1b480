"""How a client comes to its attributes (RFC 7591 §2): registration and change, on the client's own stream."""

from collections.abc import Collection

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from domain import client, client_secret, names
from domain.client_secret import NewSecret, SecretIssued
from domain.decision import Outcome, accept, refuse
from domain.event import Moment
from domain.refusal import Conflict, NotFound
from domain.rules import administrative_scope
from domain.rules import registration as rules
from domain.rules.registration import Circumstances, malformed

OWNER_MAXIMUM = 200


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """What a client comes with, or with a slug a dashboard. A confidential one needs its first secret."""

    attributes: client.Attributes
    owner: str | None = None
    slug: str | None = None
    secret: NewSecret | None = None


def register(state: client.State, *, now: Moment, registration: Registration, circumstances: Circumstances) -> Outcome:
    """Registers a client (RFC 7591 §2)."""
    if state.exists:
        return refuse(Conflict.EXISTS)
    if circumstances.slug_taken:
        return refuse(Conflict.NAME_TAKEN, field="slug")
    owner, slug, secret = registration.owner, registration.slug, registration.secret
    candidate = _candidate(registration.attributes, slug)
    refused = (
        _owner(owner)
        or client_secret.seconds("secret_lifetime", None if secret is None else secret.lifetime, least=1)
        or rules.refusal(candidate, before=client.INITIAL, circumstances=circumstances)
    )
    if refused:
        return refused
    registered = client.Registered(
        client_type=candidate.type,
        slug=slug,
        owner=owner,
        **{field: getattr(candidate, field) for field in client.Attributes.__struct_fields__},
    )
    if candidate.type == "public":
        return accept(registered)
    if secret is None:
        raise ValueError("a confidential client needs its first secret")
    issued = SecretIssued(secret_id=secret.secret_id, version=1, sha256=secret.sha256, lifetime=secret.lifetime)
    return accept(registered, issued)


def _candidate(attributes: client.Attributes, slug: str | None) -> client.State:
    candidate = replace(client.INITIAL, **client.named(attributes), slug=slug, type="confidential")
    if slug is not None:
        grants = rules.DASHBOARD_GRANT_TYPES if attributes.grant_types is UNSET else candidate.grant_types
        return replace(candidate, type="dashboard", grant_types=grants)
    public = candidate.token_endpoint_auth_method == "none"  # noqa: S105 - a method by its RFC 7591 name
    return replace(candidate, type="public") if public else candidate


def update(
    state: client.State,
    *,
    now: Moment,
    changes: client.Attributes,
    owner: str | None | UnsetType = UNSET,
    circumstances: Circumstances,
) -> Outcome:
    """Changes what differs. Name `owner` only if it does, as the sealed one cannot be compared; None removes it."""
    if not client.alive(state):
        return refuse(NotFound.UNKNOWN)
    new = {name: value for name, value in client.named(changes).items() if value != getattr(state, name)}
    # Without a secret to show, or with one that need not be shown, it would be another client.
    if "token_endpoint_auth_method" in new and "none" in (
        changes.token_endpoint_auth_method,
        state.token_endpoint_auth_method,
    ):
        return malformed("token_endpoint_auth_method", "a client stays public or confidential; register another one")
    after = replace(state, **new)
    removed = owner is None and state.owner is not None
    given = owner if isinstance(owner, str) else None
    if not new and not removed and given is None:
        return accept()
    refused = _owner(owner) or _beyond(state, new.keys(), circumstances.caller_scope)
    if refused is None and new:
        known = circumstances.known_scopes | frozenset(state.scope)
        refused = rules.refusal(after, before=state, circumstances=replace(circumstances, known_scopes=known))
    if refused:
        return refused
    old = client.Attributes(**{name: getattr(state, name) for name in new})
    return accept(client.Updated(old=old, new=client.Attributes(**new), owner=given, owner_removed=removed))


def _beyond(state: client.State, changed: Collection[str], caller_scope: frozenset[str]) -> Outcome | None:
    """Whoever changes where a dashboard's tokens go could have them, and a service's tokens are not theirs to lengthen:
    they must be able to give what the client may do. How a service is called is anybody's to change.
    """
    if state.type != "dashboard" and set(changed) <= {"client_name"}:
        return None
    return administrative_scope.handing_out(state.scope, caller_scope=caller_scope, field="scope")


def _owner(owner: str | None | UnsetType) -> Outcome | None:
    problem = names.text_problem(owner, OWNER_MAXIMUM) if isinstance(owner, str) else None
    return malformed("owner", problem) if problem else None
