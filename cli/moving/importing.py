"""`grantlog import …`: people and clients of other systems."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import rich_click as click

from cli.command_services import CommandServices, run
from cli.moving.import_lines import RunningImport
from cli.moving.keycloak import KeycloakRealm
from cli.moving.passport import PassportDump
from cli.moving.people_file import PeopleFile
from cli.moving.records import count_lines
from cli.terminal import as_json

existing_file = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)
dry_run: Callable[[Any], Any] = click.option(
    "--dry-run", is_flag=True, help="Change nothing, and tell of every line what would become of it."
)


@click.group("import")
def import_() -> None:
    """Bring in people and clients of other systems. Who is there already stays as they are."""


@import_.command("people")
@click.argument("file", type=existing_file)
@click.option("--realm", default="platform", show_default=True, help="Where they sign in.")
@click.option("--ignore", "ignored", multiple=True, metavar="NAME", help="A column to leave out. Repeatable.")
@dry_run
@as_json
def import_people(file: Path, realm: str, ignored: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Bring in the people of FILE, CSV or JSON lines, with their passwords or the hashes of those."""

    async def work(services: CommandServices) -> None:
        importing = RunningImport(services, "people", dry=dry_run, as_json=as_json)
        people = PeopleFile(services, file, realm, ignored)
        try:
            await importing.bring(people.import_lines(), count_lines(file))
        finally:
            people.close()

    run(work)


@import_.command("passport")
@click.argument("dump", type=click.Path(exists=True, path_type=Path))
@click.option("--realm", default="platform", show_default=True, help="Where its people sign in.")
@click.option("--scope", default="", metavar="NAMES", help="What its clients may ask for, separated by blanks.")
@dry_run
@as_json
def import_passport(dump: Path, realm: str, scope: str, dry_run: bool, as_json: bool) -> None:
    """Bring in people and clients of Laravel Passport from DUMP, a directory with users.csv and oauth_clients.csv."""

    async def work(services: CommandServices) -> None:
        passport = PassportDump(services, dump, realm, scope.split())
        importing = RunningImport(services, "passport", dry=dry_run, as_json=as_json)
        await importing.bring(passport.import_lines(), sum(map(count_lines, passport.files)))

    run(work)


@import_.command("keycloak")
@click.argument("export", type=existing_file)
@click.option("--realm", default="platform", show_default=True, help="Where its people sign in.")
@click.option("--scope", default="", metavar="NAMES", help="What its clients may ask for too, separated by blanks.")
@dry_run
@as_json
def import_keycloak(export: Path, realm: str, scope: str, dry_run: bool, as_json: bool) -> None:
    """Bring in people, clients and roles of a realm of Keycloak from EXPORT, its JSON."""

    async def work(services: CommandServices) -> None:
        keycloak = KeycloakRealm(services, export, realm, scope.split(), dry=dry_run)
        importing = RunningImport(services, "keycloak", dry=dry_run, as_json=as_json)
        await importing.bring(keycloak.import_lines(), len(keycloak))

    run(work)
