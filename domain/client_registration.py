"""How a client comes to its attributes (RFC 7591 §2): registration and change, on the client's own stream."""

from collections.abc import Collection, Mapping

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from domain import client, client_secret, names
from domain.client_secret import SecretIssued
from domain.decision import Outcome, accept, refuse
from domain.event import Moment
from domain.grants.facts import GrantType
from domain.refusal import Conflict, NotFound
from domain.rules import administrative_scope, registration
from domain.rules.registration import malformed

OWNER_MAXIMUM = 200


def register(
    state: client.State,
    *,
    now: Moment,
    attributes: client.Attributes,
    owner: str | None = None,
    slug: str | None = None,
    slug_taken: bool = False,
    secret_id: str | None = None,
    secret_sha256: str | None = None,
    secret_lifetime: int | None = None,
    caller_scope: frozenset[str],
    known_scopes: frozenset[str],
    grant_types: Mapping[str, GrantType],
    issuer: str,
) -> Outcome:
    """Registers a client, or with a slug a dashboard (RFC 7591 §2).

    A confidential client needs its first secret's id and digest. `known_scopes` are those of the asked that are
    defined, `grant_types` the registry, and `caller_scope` is what the caller's token holds.
    """
    if state.exists:
        return refuse(Conflict.EXISTS)
    if slug_taken:
        return refuse(Conflict.NAME_TAKEN, field="slug")
    candidate = replace(client.INITIAL, **client.named(attributes), slug=slug, type="confidential")
    if slug is not None:
        grants = registration.DASHBOARD_GRANT_TYPES if attributes.grant_types is UNSET else candidate.grant_types
        candidate = replace(candidate, type="dashboard", grant_types=grants)
    elif _is_public(candidate.token_endpoint_auth_method):
        candidate = replace(candidate, type="public")
    refused = (
        _owner(owner)
        or client_secret.seconds("secret_lifetime", secret_lifetime, least=1)
        or registration.refusal(
            candidate,
            before=client.INITIAL,
            caller_scope=caller_scope,
            known_scopes=known_scopes,
            grant_types=grant_types,
            issuer=issuer,
        )
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
    if secret_id is None or secret_sha256 is None:
        raise ValueError("a confidential client needs its first secret")
    return accept(
        registered,
        SecretIssued(secret_id=secret_id, version=1, sha256=secret_sha256, lifetime=secret_lifetime),
    )


def update(
    state: client.State,
    *,
    now: Moment,
    changes: client.Attributes,
    owner: str | None | UnsetType = UNSET,
    caller_scope: frozenset[str],
    known_scopes: frozenset[str],
    grant_types: Mapping[str, GrantType],
    issuer: str,
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
    refused = _owner(owner) or _beyond(state, new.keys(), caller_scope)
    if refused is None and new:
        refused = registration.refusal(
            after,
            before=state,
            caller_scope=caller_scope,
            known_scopes=known_scopes | frozenset(state.scope),
            grant_types=grant_types,
            issuer=issuer,
        )
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


def _is_public(method: str) -> bool:
    return method == "none"
