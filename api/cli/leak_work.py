"""What the commands of `grantlog leaks` do with the ledger; the same as the API does."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from api.cli.failures import Failure
from api.cli.opening import Here

if TYPE_CHECKING:
    from api.leaks.containing import Containment
    from domain.incident import Numbers
    from eventstore.view import View
    from projections.incidents import Incident


async def investigated(here: Here, secret: str | None, sha256: str | None) -> Mapping[str, Any]:
    """The report about one secret, and the event that somebody asked for it."""
    import msgspec

    from api.leaks import presented
    from api.leaks.investigating import Asked, report

    question = presented.Presented(sha256 or "", None) if secret is None else presented.read(secret, here.format)
    await _counts(here)
    ledger = here.ledger
    now, head = ledger.clock.now(), ledger.changes.position
    asked = Asked(question.sha256, question.kind, question.problem, head, now, True)
    found = await ledger.read(report, ledger.privacy, asked)
    words = {"foreign": "1"} if question.problem is not None else {"sha256": question.sha256}
    await _asked(here, "leak_investigation", words, int(found.client_id is not None))
    members: dict[str, Any] = msgspec.to_builtins(found)
    return members


async def containment(
    here: Here, named: Mapping[str, str], since: str | None, *, rotate: bool, disable_client: bool, evidence: str | None
) -> "Containment":
    """A containment that can be looked at and carried out; raises Failure that says what is wrong with the words."""
    from api.audit.filters import moment
    from api.leaks.containing import Containment, Wanted
    from api.leaks.finding import Parts, find, misfit
    from api.problems import Problem
    from domain.event import SECOND
    from domain.rules.administrative_scope import ADMINISTRATIVE_SCOPES
    from security.tokens import Kind

    ledger = here.ledger
    try:
        at = moment("since", since)
        at = None if at is None else at // SECOND * SECOND
        target = await find(Parts(ledger, here.format), named, at)
    except Problem as problem:
        raise Failure(_words(problem)) from None
    fault = misfit(target, rotate=rotate, disable_client=disable_client, since=since is not None)
    if fault is not None:
        raise Failure(f"{fault[0]}: {fault[1]}")
    secret = here.format.mint(Kind.CLIENT_SECRET) if rotate else None
    return Containment(
        ledger,
        target,
        Wanted(at, secret, disable_client, ADMINISTRATIVE_SCOPES),
        goes_on=True,
        source="command_line",
        evidence=masked(here, evidence),
    )


def masked(here: Here, words: str | None) -> str | None:
    """What somebody says about a leak, without the secrets in it."""
    from api.masking import masking

    return None if words is None else masking(*here.format.prefixes).text(words)


async def tried(here: Here, wanted: "Containment") -> "Numbers":
    """What it would end. That somebody asked is an event."""
    from domain.decision import Refusal
    from security.clock import format_rfc3339

    await wanted.prepare()
    await wanted.count()
    target = wanted.target
    words = {
        name: value
        for name in ("client_id", "account_id", "secret_id", "sha256")
        if (value := getattr(target, name)) is not None
    }
    if wanted.wanted.since is not None:
        words["since"] = format_rfc3339(wanted.wanted.since)
    address = None if target.gathered is None else target.gathered.address

    def under_lock(view: "View") -> "Mapping[str, Any] | Refusal":
        found = wanted.tried(view)
        return found if isinstance(found, Refusal) else {"count": found.tokens_ended}

    await _asked(here, "leak_containment_dry_run", words, 0, under_lock, address)
    return wanted.numbers


async def carried_out(here: Here, wanted: "Containment") -> Mapping[str, Any]:
    """Ends it; what was ended, with the new secret where there is one to hand over."""
    import msgspec

    shown: dict[str, Any] = {}

    def then(view: "View", _: object) -> None:
        secret = wanted.hand_over(view)
        if secret is not None:
            shown["client_secret"] = secret

    # Whoever was shown the dry run may have thought about it for a while.
    await wanted.prepare()
    await here.execute(*wanted.commands(), then=then)
    return {"incident_id": wanted.incident_id, **msgspec.to_builtins(wanted.numbers), **shown}


async def incident(here: Here, found: "Incident") -> Mapping[str, Any]:
    """An incident under the names of the API."""
    import msgspec

    from api.leaks.incidents import shown

    def read(connection: Any) -> Any:
        return shown(connection, here.ledger.privacy, personal=True)(found)

    members: Mapping[str, Any] = msgspec.to_builtins(await here.ledger.read(read))
    return members


async def _counts(here: Here) -> None:
    from eventstore.deriving import Deriving
    from eventstore.following import Follower

    await Follower(here.ledger, Deriving()).follow()


async def _asked(
    here: Here,
    question: str,
    words: Mapping[str, str],
    count: int,
    under_lock: Any = None,
    address: str | None = None,
) -> None:
    from domain import audit
    from eventstore.commands import Command
    from security.clock import day_of

    facts: dict[str, Any] = {"question": question, "parameters": dict(words), "address": address}
    facts["unsealed"] = question == "leak_investigation"
    if under_lock is None:
        facts["count"] = count
    stream = audit.stream(day_of(here.ledger.clock.now()))
    await here.execute(Command(stream, audit.read, facts, under_lock))


def _words(problem: Any) -> str:
    if problem.errors:
        return f"{problem.errors[0].field}: {problem.errors[0].detail}"
    return str(problem.detail)
