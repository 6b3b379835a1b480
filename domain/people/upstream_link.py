"""Who somebody is at another OpenID provider: the facts stand in the account's stream, `sub` sealed."""

from collections.abc import Sequence

import msgspec

from domain.decision import AccessDenied, Conflict, NotFound, Outcome, accept, malformed, refuse
from domain.event import Event, Moment, Recorded, Sealed, sealed
from domain.rules.upstream_id_token import SUB_MAXIMUM

LINKS_MAXIMUM = 10

UPSTREAM_AMR = ("fed",)
"""How a person proved who they are who did so at another provider: what they showed there is not known here."""


class UpstreamLinked(Event, frozen=True, kw_only=True):
    """The person is who has this `sub` at an OpenID provider, and signs in there from now on if they like."""

    type = "account.upstream_linked"
    personal = ("sub",)

    realm: str
    upstream: str
    issuer: str
    sub: str | None = None


class UpstreamUnlinked(Event, frozen=True, kw_only=True):
    """The person signs in at this OpenID provider no more."""

    type = "account.upstream_unlinked"
    in_doubt = True

    upstream: str


class UpstreamVerified(Event, frozen=True, kw_only=True):
    """The person proved who they are at an OpenID provider."""

    type = "account.upstream_verified"

    upstream: str
    issuer: str


EVENTS: tuple[type[Event], ...] = (UpstreamLinked, UpstreamUnlinked, UpstreamVerified)


class UpstreamLink(msgspec.Struct, frozen=True, kw_only=True):
    """A link, as `account.upstream_linked` has it."""

    upstream: str
    issuer: str
    linked_at: Moment
    sub: Sealed | None


Links = tuple[UpstreamLink, ...]


class UpstreamProof(msgspec.Struct, frozen=True, array_like=True):
    """What a provider said of somebody, whose signature was good. `email` is their address there, where the person
    wants to be linked by it; None where they are linked already."""

    realm: str
    upstream: str
    issuer: str
    sub: str
    email: str | None = None

    def __repr__(self) -> str:
        return f"UpstreamProof({self.realm}/{self.upstream})"


def named(links: Links, upstream: str, issuer: str | None = None) -> UpstreamLink | None:
    """The link to the provider of this name; with `issuer` only if it is one to that."""
    found = next((each for each in links if each.upstream == upstream), None)
    return None if found is None or issuer not in (None, found.issuer) else found


def link(
    links: Links, *, now: Moment, realm: str, upstream: str, issuer: str, sub: str, is_same: bool, taken: bool
) -> Outcome:
    """Links a person to who they are at a provider, in place of any other there. `is_same` says that they are already
    linked so, `taken` that somebody else of the realm is."""
    if not 0 < len(sub) <= SUB_MAXIMUM or not sub.isprintable():
        return malformed("sub", f"must have 1 to {SUB_MAXIMUM} printable characters")
    if taken:
        return refuse(Conflict.NAME_TAKEN, detail="somebody else is linked to this one", field="sub")
    if is_same:
        return accept()
    if named(links, upstream) is None and len(links) >= LINKS_MAXIMUM:
        return malformed("upstream", f"a person is linked to at most {LINKS_MAXIMUM}")
    return accept(UpstreamLinked(realm=realm, upstream=upstream, issuer=issuer, sub=sub))


def unlink(links: Links, *, now: Moment, upstream: str, is_only_way: bool = False) -> Outcome:
    """Takes a link away. `is_only_way` says that the person would not get in any more, and does it themselves."""
    if named(links, upstream) is None:
        return refuse(NotFound.UNKNOWN)
    if is_only_way and len(links) == 1:
        return refuse(Conflict.IN_USE, detail="you have no other way to sign in; set a password first")
    return accept(UpstreamUnlinked(upstream=upstream))


def unlink_all(links: Links, *, now: Moment) -> Outcome:
    """Takes all of them away, as with a password that somebody else may have known."""
    return accept(*(UpstreamUnlinked(upstream=each.upstream) for each in links))


def verify(links: Links, *, now: Moment, upstream: str, issuer: str) -> Outcome:
    """Records that the person proved at a provider who they are, whose `sub` was found to be the linked one."""
    if named(links, upstream, issuer) is None:
        return refuse(AccessDenied.ACCOUNT)
    return accept(UpstreamVerified(upstream=upstream, issuer=issuer))


def evolve(links: Links, recorded: Recorded) -> Links:
    """The links after one more event of theirs."""
    event = recorded.event
    match event:
        case UpstreamLinked():
            made = UpstreamLink(
                upstream=event.upstream, issuer=event.issuer, linked_at=recorded.time, sub=sealed(recorded, "sub")
            )
            return (*_but(links, event.upstream), made)
        case UpstreamUnlinked():
            return _but(links, event.upstream)
        case UpstreamVerified():
            return links
        case _:
            raise AssertionError(f"{recorded.type} is no event of links to upstream providers")


def _but(links: Sequence[UpstreamLink], upstream: str) -> Links:
    return tuple(each for each in links if each.upstream != upstream)
