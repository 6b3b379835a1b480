"""`POST /leaks/investigate`: what a string that somebody found is, who used it and what came of it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, post
from litestar.params import JSONBody, QueryParameter
from msgspec import Meta

from api.access import needing
from api.audit.answering.auditor import Auditor
from api.audit.presented import RawSecret, Sha256, Text
from api.dependencies import Injected
from api.leaks import presented
from api.leaks.investigating import Asked, Damaged, Investigated, Report, answered
from api.problems import Invalid, Unprocessable
from api.services import services
from security.extraction import Extract, extract

READ = "leaks:read"
TAGS = ["Leaks"]
ITEMS = 1_000
TOGETHER = 2
"""Secrets that are looked at together: half of the threads that read, so that others' questions need not wait."""

Settle = Callable[[Sequence[str]], Awaitable[None]]

RECORDED_AT_ONCE = 200
"""Digests that one event of an investigation names."""

EXAMPLE: dict[str, Any] = {
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "kind": "client_secret",
    "problem": None,
    "state": "active",
    "client_id": "2Yt0kQm4VdLw8sRz1XbN6c",
    "client_name": "Photo Prints",
    "client_owner": "prints@partner.example",
    "secret": {"id": "8Wq3nBz5MhCy2tLv9RdK7x", "version": 2},
    "account_id": None,
    "grant_id": None,
    "issued_at": "2026-01-31T11:00:00.000000Z",
    "expires_at": None,
    "first_used_at": "2026-01-31T11:02:00.000000Z",
    "last_used_at": "2026-02-01T08:30:00.000000Z",
    "uses_after_end": 0,
    "addresses": [
        {
            "ip": "198.51.100.7",
            "first_at": "2026-01-31T11:02:00.000000Z",
            "last_at": "2026-02-01T08:30:00.000000Z",
            "count": 4711,
            "after_end": 0,
            "user_agents": ["prints/2.1"],
            "told_by": None,
        }
    ],
    "resource_servers": [],
    "derived": {
        "grants": {"total": 812, "live": 311},
        "codes": {"total": 812, "live": 0},
        "access_tokens": {"total": 4711, "live": 320},
        "refresh_tokens": {"total": 4711, "live": 311},
    },
    "containment": {"secrets_ended": 1, "grants_ended": 311, "tokens_ended": 631, "people_affected": 298},
}
ANSWER: dict[str, Any] = EXAMPLE | {"items": [EXAMPLE], "damaged": [], "characters": 44}


Counts = Annotated[
    Literal[0, 1], QueryParameter(name="counts", description="0: `derived` and `containment` are null, at once.")
]


class Found(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The string that was found, or its digest, so that it need not be sent."""

    secret: RawSecret | None = None
    sha256: Sha256 | None = None


class Investigation(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Any text with secrets in it, or a digest; or many strings and digests at once in `items`."""

    secret: Text | None = None
    sha256: Sha256 | None = None
    items: Annotated[list[Found], Meta(min_length=1, max_length=ITEMS)] | None = None


class Reports(msgspec.Struct, frozen=True):
    """The answers in the order of the questions."""

    items: list[Report]


@post(
    "/leaks/investigate",
    status_code=200,
    **needing(READ, example={"sha256": EXAMPLE["sha256"]}, answer=ANSWER, lists=True),
    tags=TAGS,
    summary="What a leaked secret is and what came of it",
)
async def investigate(
    asking: Injected[Auditor], settle: Injected[Settle], data: JSONBody[Investigation], counts: Counts = 1
) -> Investigated | Reports:
    """By any text that holds it, whatever surrounds or encodes it, or by its SHA-256; or up to 1,000 in `items`, each
    by itself. Also of expired and pruned ones. The counts are exact, and those of `containment` are what
    `POST /leaks/contain` would report; of a million tokens they take seconds, and `counts=0` answers at once without
    them. What is none of ours has `kind` null and says in `problem` what is wrong.
    """
    wanted = bool(counts)
    if data.items is not None:
        if data.secret is not None or data.sha256 is not None:
            raise Invalid.field("items", "give one secret, or several in items")
        questions = [
            _question(asking, f"items[{number}].", each.secret, each.sha256) for number, each in enumerate(data.items)
        ]
        return Reports(await _answered(settle, asking, questions, counts=wanted))
    if data.secret is None:
        answers = await _answered(settle, asking, [_question(asking, "", None, data.sha256)], counts=wanted)
        return told(answers)
    if data.sha256 is not None:
        raise Invalid.field("secret", "give either the secret itself or its sha256")
    found = await presented.secrets_in(data.secret, asking.here.format)
    if len(found.secrets) > ITEMS:
        raise Unprocessable(f"At most {ITEMS:,} secrets at a time.")
    questions = presented.questions(found, data.secret, asking.here.format)
    return told(await _answered(settle, asking, questions, counts=wanted), found)


def told(answers: Sequence[Report], found: Extract | None = None) -> Investigated:
    """The answer about all that a text holds."""
    first = {name: getattr(answers[0], name) for name in Report.__struct_fields__}
    if found is None:
        return Investigated(**first, items=tuple(answers))
    return Investigated(
        **first,
        items=tuple(answers) if found.secrets else (),
        damaged=tuple(Damaged(presented.KINDS[each.kind], each.at) for each in found.damaged),
        characters=found.characters,
    )


async def _answered(
    settle: Settle, asking: Auditor, questions: Sequence[presented.Presented], *, counts: bool
) -> list[Report]:
    await settle([question.sha256 for question in questions])
    answers = await _reports(asking, questions, counts=counts)
    await _record(asking, answers)
    return answers


def _question(asking: Auditor, where: str, raw: str | None, sha256: str | None) -> presented.Presented:
    if (raw is None) == (sha256 is None):
        raise Invalid.field(f"{where}secret", "give either the secret itself or its sha256")
    if raw is not None:
        return presented.questions(extract(raw, asking.here.format), raw, asking.here.format)[0]
    return presented.Presented(sha256 or "", None)


def settling(request: Request[Any, Any, Any]) -> Settle:
    """Brings what is known of the uses of secrets, and what is gathered, up to this moment."""
    here = services(request)

    async def settle(digests: Sequence[str]) -> None:
        await here.uses.record(everything=True)
        await here.token_uses.record(of=[bytes.fromhex(each) for each in digests])
        await here.tallies.close_elapsed(everything=True)
        await here.follower.follow()

    return settle


async def _reports(asking: Auditor, questions: Sequence[presented.Presented], *, counts: bool) -> list[Report]:
    """The answers in order. The same string is often found in many places, and is looked at once."""
    found: dict[presented.Presented, Report] = {}
    distinct = list(dict.fromkeys(questions))
    for start in range(0, len(distinct), TOGETHER):
        part = distinct[start : start + TOGETHER]
        reports = await asyncio.gather(*(_report(asking, question, counts=counts) for question in part))
        found.update(zip(part, reports, strict=True))
        if len(distinct) > TOGETHER:
            # Nobody else waits for a thousand answers.
            await asyncio.sleep(0)
    return [found[question] for question in questions]


async def _report(asking: Auditor, question: presented.Presented, *, counts: bool) -> Report:
    ledger = asking.here.ledger
    head = ledger.changes.position
    asked = Asked(question.sha256, question.kind, question.problem, head, asking.now, asking.personal)
    return await answered(ledger, asked, counts=counts)


async def _record(asking: Auditor, answers: list[Report]) -> None:
    """Of what is none of ours not even the digest is recorded: it may be a password."""
    ours = [each.sha256 for each in answers if each.problem is None]
    personal = asking.personal and any(each.addresses or each.client_owner for each in answers)
    for start in range(0, max(1, len(ours)), RECORDED_AT_ONCE):
        part = ours[start : start + RECORDED_AT_ONCE]
        foreign = len(answers) - len(ours) if start == 0 else 0
        asked: dict[str, str | None] = {"sha256": " ".join(part) or None, "foreign": str(foreign) if foreign else None}
        found = sum(each.sha256 in part and each.state != "unknown" for each in answers)
        await asking.record("leak_investigation", asked, found, unsealed=personal)


ROUTES: list[Any] = [investigate]
