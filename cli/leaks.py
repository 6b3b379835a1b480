"""`grantlog leaks …`: what to do about a secret that leaked. A secret never stands among the arguments."""

from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import msgspec
import rich_click as click

from api.leaks import address_target, issuer_keys, resolve
from api.leaks.containment import Containment, ContainmentRequest, containments, dry_run
from api.leaks.incidents import IncidentBody, shown
from api.leaks.investigate import reported, told
from api.leaks.investigation import AWAY
from cli.command_services import CommandServices, load_settings, run
from cli.terminal import (
    REFUSED,
    USAGE,
    Failure,
    as_json,
    moment,
    output,
    print_list,
    print_one,
    read_secret,
    read_text,
    secret_file,
    sha256_option,
)
from commands import incidents, servers
from domain import server
from domain.incident import Numbers, added
from domain.rules.administrative_scope import ADMINISTRATIVE_SCOPES
from eventstore.database import Connection
from eventstore.projecting.catch_up import CatchUpSubscription, EventIndexing, Sightings
from eventstore.view import View
from projections import incidents as incident_rows
from projections.incidents import IncidentRow
from security.scanning import MOST, RULES, ForeignSecret, extract, foreign
from security.tokens import Format

# `grantlog leaks investigate|contain|list|show|close|freeze|unfreeze`. A secret never stands among the arguments.

COLUMNS = ("incident_id", "state", "source", "kind", "client_id", "account_id", "reported_at", "contained_at")
ADDRESSES = ("ip", "count", "after_end", "refused", "first_at", "last_at", "told_by", "user_agents")


ALIVE = frozenset({"active", "expiring", "not_yet_issued"})
NONE = 4
"""Exit code of an investigation that found no secret of ours; 3 is that of a database that could not be asked."""


@click.command()
@sha256_option
@click.option("--at", metavar="TIME", help="As it was at this RFC 3339 time, that very microsecond included.")
@as_json
def investigate(sha256: str | None, at: str | None, as_json: bool) -> None:
    """Say what every secret and key in a text is and what came of it.

    The text is read from standard input, or a secret is asked for: a log, a diff, a mail, whatever surrounds or encodes
    the secrets. The exit code is 1 when one of them is alive, 0 when all are dead, 4 when none of ours is in it."""
    text = None if sha256 is not None else read_text()

    async def work(services: CommandServices) -> Mapping[str, Any]:
        return await _investigated(services, text, sha256, at)

    found = dict(run(work))
    items = found["items"] or [found]
    if as_json:
        print_one(found, as_json)
    else:
        _print_found(found, items)
    raise SystemExit(_exit_code(items))


def _exit_code(items: Sequence[Mapping[str, Any]]) -> int:
    known = [each for each in items if each["state"] not in (None, "unknown")]
    if not known:
        return NONE
    told = [each for each in known if each["state"] != AWAY]
    alive = any(each["state"] in ALIVE or any(each["containment"].values()) for each in told)
    return REFUSED if alive else 0


def _print_found(found: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> None:
    for number, each in enumerate(items):
        if number:
            click.echo()
        _print_report(dict(each))
    for each in found["damaged"]:
        click.echo(f"damaged: something like {each['kind']} at character {each['at']}; its checksum differs", err=True)
    for each in found["foreign"]:
        click.echo(f"foreign: {each['kind']} at character {each['at']}; only who made it can end it", err=True)


def _print_report(found: dict[str, Any]) -> None:
    for name in ("items", "damaged", "foreign", "characters"):
        found.pop(name, None)
    if found["state"] == AWAY:
        print_one({name: found[name] for name in ("sha256", "kind", "state")}, False)
        return
    addresses, derived, containment = found.pop("addresses"), found.pop("derived"), found.pop("containment")
    servers = [each["client_id"] for each in found.pop("resource_servers")]
    version = found.pop("secret")
    found["secret"] = None if version is None else f"{version['id']} (version {version['version']})"
    mailed = found.pop("link")
    found["link"] = None if mailed is None else f"{mailed['purpose']} in {mailed['realm']}"
    came = {f"derived_{name}": f"{each['live']} alive of {each['total']}" for name, each in derived.items()}
    # Somebody who tried it when it was over, or without its key, is what matters most.
    first = {name: found.pop(name) for name in ("uses_after_end", "uses_refused")}
    print_one(first | found | {"resource_servers": servers} | came | {"would_end": numbers(containment)}, False)
    if addresses:
        click.echo()
        print_list(addresses, ADDRESSES, False)


def numbers(found: Mapping[str, int]) -> str:
    """What a containment ends, in words."""
    parts = (
        _some(found["secrets_ended"], "secret version"),
        _some(found["grants_ended"], "grant"),
        _some(found["tokens_ended"], "token"),
    )
    return f"{', '.join(parts)}; {_some(found['people_affected'], 'person', 'people')} affected"


def _some(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


@click.command()
@sha256_option
@click.option("--client", "client_id", metavar="ID", help="Everything of this client.")
@click.option("--account", "account_id", metavar="ID", help="Everything of this person.")
@click.option("--secret-id", metavar="ID", help="What this secret version authenticated.")
@click.option("--address", metavar="IP", help="The grants that were used from this address.")
@click.option(
    "--since", metavar="TIME", help="Only what was issued, or used from the address, since this RFC 3339 time."
)
@click.option("--rotate", is_flag=True, help="Give the client a new secret, shown once, or a dashboard's server.")
@click.option("--disable-client", is_flag=True, help="Disable the client too.")
@click.option("--evidence", metavar="TEXT", help="Where it was found and by whom; kept sealed, secrets masked.")
@click.option("--dry-run", is_flag=True, help="Say what it would end, and end nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@output
@as_json
def contain(
    since: str | None,
    rotate: bool,
    disable_client: bool,
    evidence: str | None,
    dry_run: bool,
    yes: bool,
    output: Path | None,
    as_json: bool,
    **named: str | None,
) -> None:
    """End what leaked and all that came of it, in one transaction. Without an option that names something else, a text
    with the leaked secrets is read from standard input, or a secret is asked for. It first says what it would end, and
    asks. Without `--yes` the text is therefore one line of standard input, and the answer the next line."""
    given = {name: value for name, value in named.items() if value is not None}
    if not given:
        given = {"secret": read_text() if yes or dry_run else read_secret()}

    async def work(services: CommandServices) -> Mapping[str, Any]:
        asked = ContainmentRequest(given, since, rotate, disable_client, evidence)
        found, away = await containments(
            services.ledger, services.format, asked, source="command_line", caller_scope=ADMINISTRATIVE_SCOPES
        )
        for each in away:
            click.echo(f"not looked at, since its archive cannot be read at present: {each}", err=True)
        if dry_run or not yes:
            would: Mapping[str, int] = msgspec.to_builtins(await _tried(services, found))
            if dry_run:
                return would if as_json else {"would_end": numbers(would)}
            click.echo(f"would end: {numbers(would)}", err=True)
            click.confirm("End this?", abort=True, err=True)
        return await _carried_out(services, found)

    with secret_file(output) as hand_over:
        hand_over(run(work), as_json)


@click.command("list")
@as_json
def list_(as_json: bool) -> None:
    """List incidents, the newest first."""

    async def work(services: CommandServices) -> list[Mapping[str, Any]]:
        found = await services.every(incident_rows.page)
        return [await _read(services, each) for each in found]

    print_list(run(work), COLUMNS, as_json)


@click.command()
@click.argument("incident_id")
@as_json
def show(incident_id: str, as_json: bool) -> None:
    """Show an incident: who reported it, what was found, what was done and how long it took."""
    print_one(_incident(run(lambda services: _found(services, incident_id)), as_json), as_json)


@click.command()
@click.argument("incident_id")
@click.option("--note", metavar="TEXT", help="What is left to be said; kept sealed, secrets masked.")
@as_json
def close(incident_id: str, note: str | None, as_json: bool) -> None:
    """Close an incident."""

    async def work(services: CommandServices) -> Mapping[str, Any]:
        await _found(services, incident_id)
        await services.execute(
            incidents.close(incident_id, None if note is None else services.masked(note), services.ledger.privacy)
        )
        return await _found(services, incident_id)

    print_one(_incident(run(work), as_json), as_json)


@click.command()
@as_json
def freeze(as_json: bool) -> None:
    """Suspend all issuance at once: no code and no token for anybody. Validation goes on."""
    print_one(_switched(frozen=True), as_json)


@click.command()
@as_json
def unfreeze(as_json: bool) -> None:
    """Resume issuance."""
    print_one(_switched(frozen=False), as_json)


def _switched(*, frozen: bool) -> Mapping[str, Any]:
    async def work(services: CommandServices) -> Mapping[str, Any]:
        await services.execute(servers.suspend_issuance() if frozen else servers.resume_issuance())
        state: server.State = await services.ledger.state(server.STREAM)
        return {"frozen": state.suspended_at is not None, "since": moment(state.suspended_at)}

    return run(work)


async def _found(services: CommandServices, incident_id: str) -> Mapping[str, Any]:
    found = await services.ledger.read(incident_rows.by_id, incident_id)
    if found is None:
        raise Failure("incident_id: there is no such incident")
    return await _read(services, found)


def _incident(members: Mapping[str, Any], as_json: bool) -> Mapping[str, Any]:
    """In a terminal the numbers stand a line each, and anyone who reported it on one."""
    if as_json:
        return members
    flat = dict(members)
    numbers, by = flat.pop("contained") or {}, flat.pop("reported_by")
    flat["secrets"] = len(flat["secrets"])
    means = " ".join(f"{name} {value}" for name, value in (by["credential"] or {}).items())
    return flat | {"reported_by": " ".join(filter(None, (by["kind"], by["id"], means)))} | numbers


# `grantlog leaks rules`: how secret scanners recognise our secrets. It needs no database and no key.


@click.command()
@click.option("--format", "format_", type=click.Choice(tuple(RULES)), required=True, help="Which scanner reads them.")
def rules(format_: str) -> None:
    """Print the rules by which a secret scanner finds this installation's secrets.

    They follow from the prefix, which GRANTLOG_TOKEN_PREFIX sets. docs/secret-scanning.md says how to use them."""
    # What production insists on, a key and an address, has nothing to do with the rules.
    prefix = load_settings(environment="demo").token_prefix
    click.echo(RULES[format_](Format(prefix)), nl=False)


# What they do with the ledger; the same as the API does.


async def _investigated(
    services: CommandServices, text: str | None, sha256: str | None, at: str | None
) -> Mapping[str, Any]:
    """The report about every secret in a text, or about one, and the event that somebody asked for it. A private half
    of one of this server's own keys is an alarm here as well."""
    others: Sequence[ForeignSecret] = ()
    found, questions = None, [resolve.Candidate(sha256 or "", None)]
    if text is not None:
        found, others = extract(text, services.format), foreign(text, services.format)
        if len(found.secrets) > MOST:
            raise Failure(f"there are more than {MOST:,} secrets in this text: hand it over in parts", USAGE)
        for each in found.cut:
            click.echo(f"cut off: the beginning of {each.kind.name.lower()} at character {each.at}", err=True)
        questions = await resolve.asked_about(services.ledger, found, text, services.format)

    async def settle(_: Sequence[str]) -> None:
        await CatchUpSubscription(services.ledger, EventIndexing(), Sightings()).follow()

    reports = await reported(settle, services.auditor(), questions, counts=1, at=at)
    if text is not None:
        await issuer_keys.tell_pasted(services.ledger, services.origin, text)
    members: dict[str, Any] = msgspec.to_builtins(told(reports, found, others))
    return members


async def _tried(services: CommandServices, wanted: Sequence[Containment]) -> Numbers:
    """What they would end together. That somebody asked is an event."""
    for each in wanted:
        await each.prepare()
        await each.count()
    await services.execute(dry_run(services.auditor(), wanted, moment(wanted[0].wanted.since)))
    return reduce(added, (each.numbers for each in wanted), Numbers())


async def _carried_out(services: CommandServices, wanted: Sequence[Containment]) -> Mapping[str, Any]:
    """Ends it; what was ended of the first client, with the new secret where there is one to hand over, and of each."""
    secrets: list[Mapping[str, str]] = []

    def then(view: View, _: object) -> None:
        handed = [each.hand_over(view) for each in wanted]
        secrets.extend({} if secret is None else {"client_secret": secret} for secret in handed)

    # Anyone who was shown the dry run may have thought about it for a while.
    for each in wanted:
        await each.prepare()
        await each.end_at_once(services.execute)
    await services.make(*(step for each in wanted for step in each.commands()), then=then)
    if any(each.target.gathered is not None for each in wanted):
        await address_target.settle(services.ledger)
    items = [
        {"incident_id": each.incident_id, "client_id": each.target.client_id, "account_id": each.target.account_id}
        | msgspec.to_builtins(each.numbers)
        | secret
        for each, secret in zip(wanted, secrets, strict=True)
    ]
    first = {name: value for name, value in items[0].items() if name not in ("client_id", "account_id")}
    return first if len(items) == 1 else first | {"items": items}


async def _read(services: CommandServices, found: IncidentRow) -> Mapping[str, Any]:
    """An incident under the names of the API."""

    def read(connection: Connection) -> IncidentBody:
        return shown(connection, services.ledger.privacy, personal=True)(found)

    members: Mapping[str, Any] = msgspec.to_builtins(await services.ledger.read(read))
    return members


# `grantlog leaks`: what to do about a secret that leaked.


@click.group()
def leaks() -> None:
    """Leaked secrets: find them, say what they are, and end what came of them."""


for command in (rules, investigate, contain, list_, show, close, freeze, unfreeze):
    leaks.add_command(command)
