"""`grantlog person …`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import rich_click as click

from api.cli.client import REALMS
from api.cli.failures import Failure
from api.cli.opening import Here, run
from api.cli.showing import as_json, every, moment, print_list, print_one
from api.cli.standard_input import read_line

if TYPE_CHECKING:
    from projections.accounts import Account

LOGIN_AND_NAME = ("username", "email", "name")

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
def add(roles: tuple[str, ...], password_stdin: bool, as_json: bool, **named: Any) -> None:
    """Add a person. The password is asked for, or read from standard input."""
    password = read_password(password_stdin)

    async def work(here: Here) -> Mapping[str, Any]:
        from domain import account
        from domain.rules.administrative_scope import ADMINISTRATIVE_SCOPES
        from eventstore.commands import Command
        from eventstore.present import people
        from eventstore.present import roles as known
        from eventstore.view import View
        from security.ids import new_id

        realm = named["realm"]

        def under_lock(view: View) -> Mapping[str, Any]:
            given = roles or view.look(known.defaults, realm)
            asked = {field: named[field] or None for field in ("username", "email")}
            facts = {"roles": given, "role_scopes": view.look(known.role_scopes, realm, given)}
            return facts | view.look(people.taken, here.ledger.privacy, realm, **asked)

        account_id = new_id()
        facts = named | {
            "password_hash": await hashed(here, password, *(named[field] for field in LOGIN_AND_NAME)),
            "caller_scope": ADMINISTRATIVE_SCOPES,
        }
        await here.execute(Command(account.stream(account_id), account.register, facts, under_lock))
        return await members(here, await find(here, account_id, None))

    print_one(run(work), as_json)


@person.command("list")
@click.option("--realm", type=REALMS, help="Of one realm alone.")
@as_json
def list_(realm: str | None, as_json: bool) -> None:
    """List people in the order of their registration."""

    async def work(here: Here) -> list[Mapping[str, Any]]:
        from projections import accounts

        found = await every(lambda after: here.ledger.read(accounts.page, realm=realm, after=after, limit=200))
        return [await members(here, each) for each in found]

    print_list(run(work), ("id", "realm", "username", "email", "name", "roles", "state"), as_json)


@person.command("set-password")
@click.argument("who")
@click.option("--realm", type=REALMS, default="platform", show_default=True, help="Where the name is looked up.")
@password_option
@as_json
def set_password(who: str, realm: str, password_stdin: bool, as_json: bool) -> None:
    """Set the password of WHO, an id, username or e-mail address. All their tokens end."""
    password = read_password(password_stdin)

    async def work(here: Here) -> Mapping[str, Any]:
        from domain import account, account_sign_in
        from domain.rules.administrative_scope import ADMINISTRATIVE_SCOPES
        from eventstore.commands import Command
        from eventstore.present import roles
        from eventstore.view import View

        found = await find(here, who, realm)
        shown = await members(here, found)
        stream = account.stream(found.account_id)

        def under_lock(view: View) -> Mapping[str, Any]:
            return {"role_scopes": view.look(roles.role_scopes, found.realm, view.state(stream).roles)}

        facts = {
            "password_hash": await hashed(here, password, *(shown[field] for field in LOGIN_AND_NAME)),
            "caller_scope": ADMINISTRATIVE_SCOPES,
        }
        await here.execute(Command(stream, account_sign_in.change_password, facts, under_lock))
        return shown

    print_one(run(work), as_json)


def read_password(from_stdin: bool) -> str:
    """The password, never from the command line, which everybody on the machine can read."""
    if from_stdin:
        return read_line()
    password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return password


async def hashed(here: Here, password: str, *names: str | None) -> str:
    """The hash of a password for the person with these names; raises Failure for one that may not be set."""
    from api.new_password import password_problem, platform_words, strength_problem
    from security.password_strength import weakness
    from security.passwords import Hasher, Parameters

    settings = here.settings
    if problem := password_problem(password, settings.password_minimum):
        raise Failure(f"password: {problem}")
    if weak := weakness(password, (*names, *await platform_words(here.ledger, settings))):
        raise Failure(f"password: {strength_problem(weak)}")
    hasher = Hasher(Parameters(settings.argon2_memory, settings.argon2_time, settings.argon2_parallelism), threads=1)
    try:
        return await hasher.hash(password)
    finally:
        hasher.close()


async def find(here: Here, who: str, realm: str | None) -> "Account":
    """A person by id, or with a realm by login name; raises Failure when there is none."""
    from eventstore.present import people
    from projections import accounts

    found = await here.ledger.read(accounts.by_id, who)
    if found is None and realm is not None:
        field: people.Login = "email" if "@" in who else "username"
        state = await here.ledger.look(people.by_login, here.ledger.privacy, field, realm, who)
        found = None if state is None else await here.ledger.read(accounts.by_id, state.account_id)
    if found is None or found.state == "erased":
        raise Failure("WHO: there is no such person" + (f" in the realm {realm}" if realm else ""))
    return found


async def members(here: Here, found: "Account") -> dict[str, Any]:
    """A person under the names of the API."""
    return {
        "id": found.account_id,
        "realm": found.realm,
        "username": await here.ledger.unseal(found.username),
        "email": await here.ledger.unseal(found.email),
        "name": await here.ledger.unseal(found.name),
        "roles": found.roles,
        "state": found.state,
        "created_at": moment(found.created_at),
    }
