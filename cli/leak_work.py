"""What the commands of `grantlog leaks` do with the ledger; the same as the API does."""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

from cli.failures import Failure, of_problem
from cli.services import CommandServices

RECORDED_AT_ONCE = 200
"""Digests that one event of an investigation names."""

if TYPE_CHECKING:
    from api.leaks.containment import Containment
    from domain.audit import Question
    from domain.decision import Refusal
    from domain.incident import Numbers
    from eventstore.view import View
    from projections.incidents import Incident


async def investigated(services: CommandServices, text: str | None, sha256: str | None) -> Mapping[str, Any]:
    """The report about every secret in a text, or about one, and the event that somebody asked for it."""
    import msgspec

    from api.leaks import resolve
    from api.leaks.investigate import told
    from api.leaks.investigation import InvestigatedSecret, answered
    from security.scanning import extract

    found = None if text is None else extract(text, services.format)
    questions = [resolve.Candidate(sha256 or "", None)]
    if found is not None and text is not None:
        questions = resolve.questions(found, text, services.format)
    await _counts(services)
    ledger = services.ledger
    now, head = ledger.clock.now(), ledger.changes.position
    answers = []
    for question in questions:
        asked = InvestigatedSecret(question.sha256, question.kind, question.problem, head, now, True)
        answers.append(await answered(ledger, asked, counts=True))
    foreign = questions[0].problem is not None
    for start in range(0, len(questions), RECORDED_AT_ONCE):
        part = questions[start : start + RECORDED_AT_ONCE]
        words = {"foreign": "1"} if foreign else {"sha256": " ".join(each.sha256 for each in part)}
        known = sum(each.client_id is not None for each in answers[start : start + RECORDED_AT_ONCE])
        await _asked(services, "leak_investigation", words, known)
    members: dict[str, Any] = msgspec.to_builtins(told(answers, found))
    return members


async def containments(
    services: CommandServices,
    named: Mapping[str, str],
    since: str | None,
    *,
    rotate: bool,
    disable_client: bool,
    evidence: str | None,
) -> "list[Containment]":
    """Containments, one for each client, that can be looked at and carried out; raises Failure that says what is wrong
    with the words.
    """
    from api.audit.queries.filters import moment
    from api.http.errors import HTTPError
    from api.leaks.containment import Containment, Wanted
    from api.leaks.resolve import Parts, find, misfit
    from domain.event import SECOND
    from domain.rules.administrative_scope import ADMINISTRATIVE_SCOPES
    from security.tokens import Kind

    ledger = services.ledger
    try:
        at = moment("since", since)
        at = None if at is None else at // SECOND * SECOND
        targets = await find(Parts(ledger, services.format), named, at)
    except HTTPError as problem:
        raise of_problem(problem) from None
    fault = misfit(targets, rotate=rotate, disable_client=disable_client, since=since is not None)
    if fault is not None:
        raise Failure(f"{fault[0]}: {fault[1]}")
    found = []
    for target in targets:
        is_client = target.client_id is not None
        secret = services.format.mint(Kind.CLIENT_SECRET) if rotate and is_client else None
        wanted = Wanted(at, secret, disable_client and is_client, ADMINISTRATIVE_SCOPES)
        said = masked(services, evidence)
        found.append(Containment(ledger, target, wanted, goes_on=True, source="command_line", evidence=said))
    return found


def masked(services: CommandServices, words: str | None) -> str | None:
    """What somebody says about a leak, without the secrets in it."""
    from security.masking import masking

    return None if words is None else masking(*services.format.prefixes).text(words)


async def tried(services: CommandServices, wanted: "Sequence[Containment]") -> "Numbers":
    """What they would end together. That somebody asked is an event."""
    from api.leaks.containment import tried_together
    from domain.incident import Numbers, added
    from security.clock import format_rfc3339

    for each in wanted:
        await each.prepare()
        await each.count()
    target = wanted[0].target
    words = {
        name: value
        for name in ("client_id", "account_id", "secret_id", "sha256")
        if (value := getattr(target, name)) is not None
    }
    if wanted[0].wanted.since is not None:
        words["since"] = format_rfc3339(wanted[0].wanted.since)
    address = None if target.gathered is None else target.gathered.address
    await _asked(
        services, "leak_containment_dry_run", words, lambda view: tried_together(view, wanted), address=address
    )
    return reduce(added, (each.numbers for each in wanted), Numbers())


async def carried_out(services: CommandServices, wanted: "Sequence[Containment]") -> Mapping[str, Any]:
    """Ends it; what was ended of the first client, with the new secret where there is one to hand over, and of each."""
    import msgspec

    from api.leaks import settling

    secrets: list[Mapping[str, str]] = []

    def then(view: "View", _: object) -> None:
        handed = [each.hand_over(view) for each in wanted]
        secrets.extend({} if secret is None else {"client_secret": secret} for secret in handed)

    # Whoever was shown the dry run may have thought about it for a while.
    for each in wanted:
        await each.prepare()
        await each.end_at_once(services.execute)
    await services.make(*(step for each in wanted for step in each.commands()), then=then)
    if any(each.target.gathered is not None for each in wanted):
        await settling.settle(services.ledger)
    items = [
        {"incident_id": each.incident_id, "client_id": each.target.client_id, "account_id": each.target.account_id}
        | msgspec.to_builtins(each.numbers)
        | secret
        for each, secret in zip(wanted, secrets, strict=True)
    ]
    first = {name: value for name, value in items[0].items() if name not in ("client_id", "account_id")}
    return first if len(items) == 1 else first | {"items": items}


async def incident(services: CommandServices, found: "Incident") -> Mapping[str, Any]:
    """An incident under the names of the API."""
    import msgspec

    from api.leaks.incidents import shown

    def read(connection: Any) -> Any:
        return shown(connection, services.ledger.privacy, personal=True)(found)

    members: Mapping[str, Any] = msgspec.to_builtins(await services.ledger.read(read))
    return members


async def _counts(services: CommandServices) -> None:
    from eventstore.projecting.catch_up import CatchUpSubscription, EventIndexing
    from eventstore.projecting.sightings import Sightings

    await CatchUpSubscription(services.ledger, EventIndexing(), Sightings()).follow()


async def _asked(
    services: CommandServices,
    question: "Question",
    words: Mapping[str, str],
    count: "int | Callable[[View], int | Refusal]",
    *,
    address: str | None = None,
) -> None:
    from commands.audit import read
    from domain import audit
    from security.clock import day_of

    stream = audit.stream(day_of(services.ledger.clock.now()))
    unsealed = question == "leak_investigation"
    await services.execute(read(stream, question, words, count, unsealed=unsealed, address=address))
