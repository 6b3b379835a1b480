"""Pairwise subjects (OpenID Connect Core §8): which clients share a name for a person, and what they must register."""

from urllib.parse import urlsplit

import msgspec

from domain.decision import Outcome, malformed
from domain.rules.client_metadata import ClientMetadata
from domain.rules.logout import web_problem

URI_MAXIMUM = 512
_DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
DOCUMENT_MAXIMUM = 65_536
"""Bytes of the list at a `sector_identifier_uri`."""


class SectorDocument(msgspec.Struct, frozen=True):
    """What stands at an address: the redirect URIs of all who belong to the sector."""

    uri: str
    redirect_uris: frozenset[str]


def sector(client: ClientMetadata) -> str | None:
    """The host whose clients know people by the same names; None for a client that has everybody's (§8.1)."""
    if client.subject_type == "public":
        return None
    if client.sector_identifier_uri is not None:
        return _host(client.sector_identifier_uri)
    return next(iter(_hosts(client)), "")


def registered(client: ClientMetadata, *, before: ClientMetadata, sector: SectorDocument | None) -> Outcome | None:
    """Refuses a client whose sector cannot be told. `sector` is its document (Registration §5), which has to be fetched
    where its address, or what is looked for there, has changed.
    """
    uri = client.sector_identifier_uri
    if client.type == "dashboard" and (client.subject_type != "public" or uri is not None):
        return malformed("subject_type", "a dashboard knows people by the names that all have")
    if client.subject_type == "pairwise" and not _redirects_alone(client):
        return malformed(
            "subject_type", "pairwise is for clients with authorization_code and no grant whose answer goes elsewhere"
        )
    if uri is None:
        hosts = _hosts(client)
        if client.subject_type == "pairwise" and (len(hosts) != 1 or "" in hosts):
            return malformed(
                "subject_type", "pairwise needs redirect_uris of one host, or a sector_identifier_uri (Core §8.1)"
            )
        return None
    if problem := uri_problem(uri):
        return malformed("sector_identifier_uri", problem)
    if not is_to_be_fetched(client, before):
        return None
    if sector is None or sector.uri != uri:
        return malformed("sector_identifier_uri", "must lead to a JSON list of redirect URIs (Registration §5)")
    if not sector.redirect_uris.issuperset(client.redirect_uris):
        return malformed("sector_identifier_uri", "must list every one of the redirect_uris (Registration §5)")
    return None


def _redirects_alone(client: ClientMetadata) -> bool:
    """Whether people's tokens go to the redirect URIs alone, which are what the sector is of. Anyone who got them in
    another way would learn the names of any sector, by naming its addresses."""
    return "authorization_code" in client.grant_types and _DEVICE_CODE not in client.grant_types


def uri_problem(uri: str) -> str | None:
    """Why there can be no such list at this address: a phrase that follows its name, or None."""
    return web_problem(uri, URI_MAXIMUM)


def is_to_be_fetched(client: ClientMetadata, before: ClientMetadata) -> bool:
    """Whether the document has to be looked at, since something about it changed."""
    return client.sector_identifier_uri is not None and (client.sector_identifier_uri, client.redirect_uris) != (
        before.sector_identifier_uri,
        before.redirect_uris,
    )


def _hosts(client: ClientMetadata) -> frozenset[str]:
    return frozenset(map(_host, client.redirect_uris))


def _host(uri: str) -> str:
    parts = urlsplit(uri)
    return (parts.hostname or "").lower() if parts.scheme in ("https", "http") else ""
