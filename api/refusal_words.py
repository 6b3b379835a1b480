"""What a refusal says for which the domain leaves the words to whoever shows it."""

from domain.decision import Refusal

_WORDS = {
    "unknown": "there is nothing of that name or id",
    "exists": "exists already",
    "name_taken": "is taken",
    "not_confidential": "a public client has no secret",
    "ended": "has ended already",
    "in_use": "is in use",
    "last_administrator": "nobody would be left who can make administrators",
}


def words(refusal: Refusal) -> str | None:
    """The refusal in words, to be led by the field at fault; None where its reason is all there is."""
    return refusal.detail or _WORDS.get(refusal.reason.value)
