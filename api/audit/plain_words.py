"""What an event means, in a sentence for somebody who knows nothing of OAuth or of Grantlog."""

from collections.abc import Callable, Mapping
from typing import Any

from domain.events import EVENTS
from domain.grants import GRANTS

ENDED: Mapping[str, str] = {
    "person": "the person withdrew it",
    "client": "its client gave it back",
    "administrator": "an administrator ended it",
    "code_replay": "its code was presented a second time, so it was in two hands",
    "refresh_replay": "a refresh token that had been used up was presented again, so it was in two hands",
    "secret_leak": "a secret of it had leaked",
    "account": "the person's account was closed",
    "password_changed": "the person's password was changed",
    "expiry_policy": "its time was over",
    "logout": "the person signed out",
}
"""Why a grant ended; the reasons are those of `domain.grant.EndReason`."""

REFUSED: Mapping[str, str] = {
    "unknown": "it is not known",
    "expired": "it had expired",
    "replayed": "it had been used before",
    "ended": "its grant was over",
    "foreign_client": "another client presented it",
    "redirect_uri": "the redirect URI was not the one that it was issued for",
    "verifier": "the PKCE verifier was wrong or missing",
    "credentials": "the credentials were wrong",
    "client_cut_off": "its client had been disabled or deleted",
    "person_cut_off": "the person had been disabled or erased, or had changed the password",
    "secret_cut_off": "the client secret behind it had been ended with all its tokens",
    "consent_withdrawn": "the person had withdrawn their consent",
}
"""Why a code or refresh token was refused; the reasons are those of `domain.decision.InvalidGrant`."""

Data = Mapping[str, Any]


def _tokens_issued(data: Data) -> str:
    grant = GRANTS.get(data["grant_type"])
    how = f"by the grant {data['grant_type']}" if grant is None else grant.granted
    return f"The first tokens were issued {how}{_version(data)}."


def _version(data: Data) -> str:
    version = data.get("secret_version")
    return "" if version is None else f"; the client showed version {version} of its secret"


def _secret_rotated(data: Data) -> str:
    begins, others = data.get("not_before_in"), data.get("others_expire_in")
    made = f"Version {data['version']} of the secret was made{f', to work after {begins} seconds' if begins else ''}"
    if others is None:
        return f"{made}; the others stay as they were."
    when = "ended at once" if others == 0 else f"end after {others} seconds"
    return f"{made}; the others {when}."


def _secret_revoked(data: Data) -> str:
    if data["tokens"] == "revoke":
        return "The secret version was ended, and with it every token that it had authenticated."
    return "The secret version was ended; tokens that it had authenticated live on."


def _times(data: Data) -> str:
    count = data.get("count", 1)
    return "once" if count == 1 else f"{count} times"


def _token_seen(data: Data) -> str:
    ended = data.get("ended")
    if ended is None:
        return f"The token was used {_times(data)}{' more' if 'count' in data else ''}."
    return f"The token was presented {_times(data)} after its end; it was dead already: {ended.replace('_', ' ')}."


_SENTENCES: Mapping[str, Callable[[Data], str]] = {
    "grant.tokens_issued": _tokens_issued,
    "grant.tokens_refreshed": lambda data: f"A refresh token was used for new tokens{_version(data)}.",
    "grant.code_refused": lambda data: f"The code was refused: {REFUSED.get(data['reason'], data['reason'])}.",
    "grant.refresh_refused": lambda data: f"A refresh was refused: {REFUSED.get(data['reason'], data['reason'])}.",
    "grant.token_revoked": lambda data: f"One access token was revoked; that was the {data['by']}'s doing.",
    "grant.ended": lambda data: f"The grant ended with all its tokens: {ENDED.get(data['reason'], data['reason'])}.",
    "client.secret_issued": lambda data: f"Version {data['version']} of the client's secret was made.",
    "client.secret_rotated": _secret_rotated,
    "client.secret_revoked": _secret_revoked,
    "client.secret_expired_used": lambda data: f"The secret version was presented after its end, {_times(data)}.",
    "usage.token_first_seen": _token_seen,
    "usage.token_seen": _token_seen,
    "usage.seen": lambda data: f"The secret version was used {_times(data)} more.",
}


def _first_sentence(text: str) -> str:
    return " ".join(text.split()).partition(". ")[0].removesuffix(".") + "."


_GENERAL: Mapping[str, str] = {event.type: _first_sentence(event.__doc__ or "") for event in EVENTS}


def meaning(tag: str, data: Data) -> str:
    """The sentence. What the event's own page says of it, where nothing in it makes a difference."""
    sentence = _SENTENCES.get(tag)
    return _GENERAL[tag] if sentence is None else sentence(data)
