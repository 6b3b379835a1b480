"""`grantlog person …`."""

from collections.abc import Mapping
from typing import Any

import rich_click as click

from cli.client import REALMS
from cli.failures import Failure
from cli.output import as_json, every, print_list, print_one
from cli.services import CommandServices, run
from cli.standard_input import read_line

password_option = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input, one line, instead of asking for it."
)


@click.group()
def person() -> None:
    """Add people and set their passwords."""


@person.command()
@click.option("--realm", type=REALMS, default="platform", show_default=True)
@click.option("--username", help="Name to sign in with.")
@click.option("--email", help="Address to sign in with.")
@click.option("--name", help="Name to be called by.")
@click.option("--role", "roles", multiple=True, metavar="ROLE", help="Repeatable; the realm's defaults if left out.")
@password_option
@as_json
def add(
    realm: str,
    username: str | None,
    email: str | None,
    name: str | None,
    roles: tuple[str, ...],
    password_stdin: bool,
    as_json: bool,
) -> None:
    """Add a person. The password is asked for, or read from standard input."""
    password = read_password(password_stdin)

    async def work(services: CommandServices) -> Mapping[str, Any]:
        from commands import people
        from commands.permissions import operator
        from security.ids import new_id

        account_id = new_id()
        person = people.NewPerson(
            realm=realm,
            username=username,
            email=email,
            name=name,
            roles=roles or None,
            password_hash=await hashed(services, password, username, email, name),
        )
        await services.execute(people.register(account_id, person, privacy=services.ledger.privacy, by=operator))
        return await members(services, account_id)

    print_one(run(work), as_json)


@person.command("list")
@click.option("--realm", type=REALMS, help="Of one realm alone.")
@as_json
def list_(realm: str | None, as_json: bool) -> None:
    """List people in the order of their registration."""

    async def work(services: CommandServices) -> list[Mapping[str, Any]]:
        from projections import accounts

        found = await every(lambda after: services.ledger.read(accounts.page, realm=realm, after=after, limit=200))
        return [await members(services, each.account_id) for each in found]

    print_list(run(work), ("id", "realm", "username", "email", "name", "roles", "state"), as_json)


@person.command("set-password")
@click.argument("who")
@click.option("--realm", type=REALMS, default="platform", show_default=True, help="Where the name is looked up.")
@password_option
@as_json
def set_password(who: str, realm: str, password_stdin: bool, as_json: bool) -> None:
    """Set the password of WHO, an id, username or e-mail address. All their tokens end."""
    password = read_password(password_stdin)

    async def work(services: CommandServices) -> Mapping[str, Any]:
        from commands import people
        from commands.permissions import operator

        account_id = await find(services, who, realm)
        shown = await members(services, account_id)
        encoded = await hashed(services, password, *(shown[field] for field in ("username", "email", "name")))
        await services.execute(people.set_password(account_id, encoded, by=operator))
        return shown

    print_one(run(work), as_json)


def read_password(from_stdin: bool) -> str:
    """The password, never from the command line, which everybody on the machine can read."""
    if from_stdin:
        return read_line()
    password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return password


async def hashed(services: CommandServices, password: str, *names: str | None) -> str:
    """The hash of a password for the person with these names; raises Failure for one that may not be set."""
    from commands import people
    from security.passwords import Hasher, Parameters, StrengthMeter

    settings = services.settings
    hasher = Hasher(Parameters(settings.argon2_memory, settings.argon2_time, settings.argon2_parallelism), threads=1)
    strength = StrengthMeter()
    try:
        problem = people.password_problem(password, settings.password_minimum) or await people.weakness_problem(
            password, names, ledger=services.ledger, issuer=settings.issuer, strength=strength
        )
        if problem:
            raise Failure(f"password: {problem}")
        return await hasher.hash(password)
    finally:
        strength.close()
        hasher.close()


async def find(services: CommandServices, who: str, realm: str) -> str:
    """A person's id, by that or by a login name of the realm; raises Failure when there is none."""
    from eventstore import present
    from projections import accounts

    if await services.ledger.read(accounts.by_id, who) is not None:
        return who
    field: present.Login = "email" if "@" in who else "username"
    found = await services.ledger.look(present.person_by_login, services.ledger.privacy, field, realm, who)
    if found is None:
        raise Failure(f"WHO: there is no such person in the realm {realm}")
    return found.account_id


async def members(services: CommandServices, account_id: str) -> dict[str, Any]:
    """A person as the API shows them; raises Missing, for an erased one too."""
    from msgspec.structs import asdict

    from api.admin import schemas

    return asdict(await services.ledger.read(schemas.read_person, services.ledger.privacy, account_id))
