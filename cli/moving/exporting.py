"""`grantlog export …`: people and clients for other systems, in the shapes in which they can be imported."""

import csv
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO, Literal

import msgspec
import rich_click as click

from cli.command_services import CommandServices, run
from cli.moving.people_file import COLUMNS
from cli.moving.records import JSON_LINES
from cli.person import members
from cli.terminal import ProgressBar, new_file
from commands import moving
from domain import account, client, client_secret
from domain.moving.transfer import Exported
from domain.rules.administrative_scope import CONSOLE
from domain.rules.client_metadata import SECRET_METHODS
from domain.rules.standard_claims import KEPT
from projections import accounts
from projections import clients as client_rows
from security.tokens import new_id

PEOPLE = tuple(name for name in COLUMNS if name != "password")
OF_CLIENTS = ("id", "name", "secret", "redirect_uris", "grant_types", "scopes", "confidential", "revoked")
"""Those of Passport since version 13, and two more."""

to_file: Callable[[Any], Any] = click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    required=True,
    help="A new file that only you can read: .csv, or .jsonl.",
)


@click.group()
def export() -> None:
    """Take people and clients along, to another system or another Grantlog."""


@export.command("people")
@to_file
@click.option("--realm", default="platform", show_default=True, help="Whose people.")
@click.option("--with-hashes", is_flag=True, help="With what is kept of their passwords.")
def export_people(output: Path, realm: str, with_hashes: bool) -> None:
    """Write the people of a realm to FILE as `import people` reads them."""

    async def work(services: CommandServices) -> None:
        found = await services.every(accounts.page, realm=realm)

        async def rows() -> AsyncIterator[Mapping[str, Any]]:
            for each in found:
                yield await _person(services, each.account_id, with_hashes)

        told = Exported(of="people", count=len(found), with_hashes=with_hashes, realm=realm)
        await _write(services, output, PEOPLE, rows(), told)

    run(work)


@export.command("clients")
@to_file
@click.option("--with-hashes", is_flag=True, help="With what is kept of their secrets.")
def export_clients(output: Path, with_hashes: bool) -> None:
    """Write clients to FILE as `import passport` reads them from `oauth_clients`. Dashboards and the console are left
    out: each installation has its own."""

    async def work(services: CommandServices) -> None:
        states: list[client.State] = [
            await services.ledger.state(client.stream(each.client_id))
            for each in await services.every(client_rows.page)
            if each.slug is None and each.client_id != CONSOLE
        ]

        async def rows() -> AsyncIterator[Mapping[str, Any]]:
            for state in states:
                yield await _client(services, state, with_hashes)

        told = Exported(of="clients", count=len(states), with_hashes=with_hashes)
        await _write(services, output, OF_CLIENTS, rows(), told)

    run(work)


async def _person(services: CommandServices, account_id: str, with_hashes: bool) -> dict[str, Any]:
    shown = await members(services, account_id)
    told = {name: shown[name] for name in ("username", "email", "name", *KEPT)}
    if with_hashes:
        state: account.State = await services.ledger.state(account.stream(account_id))
        told["password_hash"] = await services.ledger.unseal(state.password_hash)
    return told | {"roles": list(shown["roles"]), "enabled": shown["state"] == "enabled"}


async def _client(services: CommandServices, state: client.State, with_hashes: bool) -> dict[str, Any]:
    secret = None
    if with_hashes and state.token_endpoint_auth_method in SECRET_METHODS:
        now = services.ledger.clock.now()
        live = [each for each in state.secrets if client_secret.unusable(each, now) is None]
        secret = f"$sha256${live[-1].sha256}" if live else await services.ledger.unseal(state.foreign_secret)
    return {
        "id": state.client_id,
        "name": state.client_name,
        "secret": secret,
        "redirect_uris": list(state.redirect_uris),
        "grant_types": list(state.grant_types),
        "scopes": list(state.scope),
        "confidential": state.type != "public",
        "revoked": not state.enabled,
    }


async def _write(
    services: CommandServices,
    output: Path,
    columns: Sequence[str],
    rows: AsyncIterator[Mapping[str, Any]],
    told: Exported,
) -> None:
    """Writes them and tells of it in the log; a file of which nothing is told goes again."""
    kind: Literal["json", "csv"] = "json" if output.suffix.lower() in JSON_LINES else "csv"
    with new_file(output) as stream, ProgressBar("Exporting") as bar:
        put = _json_lines(stream) if kind == "json" else _csv(stream, columns)
        done = 0
        async for row in rows:
            # Without a word of roles an import would give the default ones.
            put({name: value for name, value in row.items() if name == "roles" or value not in (None, [], {})})
            done += 1
            bar(done, told.count)
        await services.execute(moving.record(new_id(), told))


def _json_lines(stream: BinaryIO) -> Callable[[Mapping[str, Any]], None]:
    def put(row: Mapping[str, Any]) -> None:
        stream.write(msgspec.json.encode(row) + b"\n")

    return put


def _csv(stream: BinaryIO, columns: Sequence[str]) -> Callable[[Mapping[str, Any]], None]:
    text = TextIOWrapper(stream, "utf-8", newline="", write_through=True)
    writer = csv.writer(text)
    writer.writerow(columns)

    def put(row: Mapping[str, Any]) -> None:
        address = row.get("address") or {}
        # Names of roles stand there as they are read, separated by blanks; a blank alone is none.
        flat = {**row, "roles": " ".join(row.get("roles", ())) or " "} | {
            f"address.{name}": address[name] for name in address
        }
        writer.writerow([_cell(flat.get(name)) for name in columns])

    return put


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Iterable) and not isinstance(value, str):
        return msgspec.json.encode(value).decode() if value else ""
    return "" if value is None else str(value)
