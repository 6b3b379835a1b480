"""What a pasted key is that is no client's: one that this server signs with, or by which a trusted issuer is verified.

No containment ends those, so the answer says what does.
"""

import structlog
from msgspec.structs import replace

from api.leaks.investigation import InvestigatedSecret, Report
from domain.keys import signing_key, trusted_issuer
from domain.rules import public_key
from eventstore.ledger import Ledger
from security import pasted_keys
from security.clock import format_rfc3339

log = structlog.get_logger("api")

OWN = (
    "This server signs tokens with it. If its private half is out, anybody can: "
    'POST /admin/keys/rotate with {"compromised": true} revokes it at once.'
)
TRUSTED = (
    "Assertions of the trusted issuer %s are verified by it. If its private half is out, have the issuer replace it, "
    "and PUT /admin/trusted-issuers/%s without it."
)
_STATES = {"retired": "expired", "revoked": "revoked"}


async def answered(ledger: Ledger, asked: InvestigatedSecret, *, counts: int) -> Report | None:
    """The answer about such a key; None where it is none. That a key of this server's own was pasted is a warning in
    the log of operations too."""
    thumbprint = pasted_keys.of_hex(asked.sha256)
    found = await _own(ledger, asked, thumbprint) or await _trusted(ledger, asked, thumbprint)
    return found if found is None or counts else replace(found, derived=None, containment=None)


async def _own(ledger: Ledger, asked: InvestigatedSecret, thumbprint: str) -> Report | None:
    state: signing_key.State = await ledger.state(signing_key.STREAM)
    key = state.keys.get(thumbprint)
    if key is None:
        return None
    log.warning("own signing key pasted", kid=thumbprint, standing=key.standing)
    return Report(
        sha256=asked.sha256,
        kind="signing_key",
        state=_STATES.get(key.standing, "active"),
        issued_at=format_rfc3339(key.introduced_at),
        advice=OWN,
    )


async def _trusted(ledger: Ledger, asked: InvestigatedSecret, thumbprint: str) -> Report | None:
    state: trusted_issuer.State = await ledger.state(trusted_issuer.STREAM)
    for name, terms in state.issuers.items():
        if thumbprint in map(public_key.thumbprint, terms.jwks):
            kind, advice = "trusted_issuer_key", TRUSTED % (name, name)
            return Report(sha256=asked.sha256, kind=kind, state="active", advice=advice)
    return None
