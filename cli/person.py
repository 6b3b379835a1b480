"""`grantlog person|role|scope|realm …`: people, what they may have, and what is asked of them."""

from collections.abc import Mapping
from typing import Any, get_args

import rich_click as click
from msgspec import UNSET, to_builtins
from msgspec.structs import asdict

from api.admin.bodies import person_bodies
from cli.command_services import CommandServices, run
from cli.terminal import USAGE, Failure, as_json, print_list, print_one, read_line
from commands import factors, people, permissions, realm_policies, upstreams
from commands.permissions import operator
from domain.factors import realm_policy
from domain.factors.realm_policy import Demand, RealmPolicy, SelfRegistration
from domain.rules import standard_claims
from eventstore import present
from projections import accounts, roles, scopes
from security.passwords import Argon2Parameters, Hasher, StrengthMeter
from security.tokens import new_id

password_option = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input, one line, instead of asking for it."
)


claim_option = click.option(
    "--claim",
    "claims",
    multiple=True,
    metavar="NAME=VALUE",
    help="A standard claim, such as locale=en-GB, email_verified=true or address.country=GB. Repeatable.",
)


@click.group()
def person() -> None:
    """Add and change people and set their passwords."""


@person.command()
@click.option("--realm", default="platform", show_default=True)
@click.option("--username", help="Name to sign in with.")
@click.option("--email", help="Address to sign in with.")
@click.option("--name", help="Name to be called by.")
@click.option("--role", "roles", multiple=True, metavar="ROLE", help="Repeatable; the realm's defaults if left out.")
@claim_option
@password_option
@as_json
def add(
    realm: str,
    username: str | None,
    email: str | None,
    name: str | None,
    roles: tuple[str, ...],
    claims: tuple[str, ...],
    password_stdin: bool,
    as_json: bool,
) -> None:
    """Add a person. The password is asked for, or read from standard input."""
    given = read_claims(claims)
    password = read_password(password_stdin)

    async def work(services: CommandServices) -> Mapping[str, Any]:
        account_id = new_id()
        person = people.PersonRegistration(
            realm=realm,
            username=username,
            email=email,
            name=name,
            roles=roles or None,
            claims={field: value for field, value in given.items() if value},
            password_hash=await hashed(services, password, username, email, name),
        )
        await services.execute(people.register(account_id, person, privacy=services.ledger.privacy, by=operator))
        return await members(services, account_id)

    print_one(run(work), as_json)


@person.command()
@click.argument("who")
@click.option("--realm", default="platform", show_default=True, help="Where the name is looked up.")
@click.option("--username", help="Name to sign in with.")
@click.option("--email", help="Address to sign in with.")
@click.option("--name", help="Name to be called by.")
@claim_option
@as_json
def change(
    who: str,
    realm: str,
    username: str | None,
    email: str | None,
    name: str | None,
    claims: tuple[str, ...],
    as_json: bool,
) -> None:
    """Change names and claims of WHO, an id, username or e-mail address. An empty value takes one away."""
    given = read_claims(claims)

    async def work(services: CommandServices) -> Mapping[str, Any]:

        account_id = await find(services, who, realm)
        logins = {
            field: UNSET if value is None else value or None
            for field, value in (("username", username), ("email", email), ("name", name))
        }
        names = people.PersonNames(**logins, claims=given)
        await services.execute(people.change_names(account_id, names, privacy=services.ledger.privacy, by=operator))
        return await members(services, account_id)

    print_one(run(work), as_json)


@person.command("list")
@click.option("--realm", help="Of one realm alone.")
@as_json
def list_(realm: str | None, as_json: bool) -> None:
    """List people in the order of their registration."""

    async def work(services: CommandServices) -> list[Mapping[str, Any]]:
        if realm is not None:
            await _require_realm(services, realm)
        found = await services.every(accounts.page, realm=realm)
        return [await members(services, each.account_id) for each in found]

    print_list(run(work), ("id", "realm", "username", "email", "name", "roles", "state"), as_json)


async def _require_realm(services: CommandServices, realm: str) -> None:
    """Raises Failure where there is no such realm: nobody is in it, and that is not what was asked."""
    state: realm_policy.State = await services.ledger.state(realm_policy.STREAM)
    if realm not in state.realms:
        raise Failure(f"--realm: must be one of {', '.join(state.realms)}", USAGE)


@person.command("set-password")
@click.argument("who")
@click.option("--realm", default="platform", show_default=True, help="Where the name is looked up.")
@password_option
@as_json
def set_password(who: str, realm: str, password_stdin: bool, as_json: bool) -> None:
    """Set the password of WHO, an id, username or e-mail address. All their tokens end."""
    password = read_password(password_stdin)

    async def work(services: CommandServices) -> Mapping[str, Any]:
        account_id = await find(services, who, realm)
        shown = await members(services, account_id)
        encoded = await hashed(services, password, *(shown[field] for field in ("username", "email", "name")))
        await services.execute(people.set_password(account_id, encoded, by=operator))
        return shown

    print_one(run(work), as_json)


@person.command("reset-factors")
@click.argument("who")
@click.option("--realm", default="platform", show_default=True, help="Where the name is looked up.")
@click.option("--unlink", is_flag=True, help="Take every link to another provider away too.")
@as_json
def reset_factors(who: str, realm: str, unlink: bool, as_json: bool) -> None:
    """Take every second factor and recovery code of WHO away, an id, username or e-mail address."""

    async def work(services: CommandServices) -> Mapping[str, Any]:
        account_id = await find(services, who, realm)
        more = (upstreams.unlink_all(account_id),) if unlink else ()
        await services.execute(factors.reset(account_id, privacy=services.ledger.privacy, by=operator), *more)
        return await members(services, account_id)

    print_one(run(work), as_json)


def read_claims(given: tuple[str, ...]) -> dict[Any, Any]:
    """Claims from the command line, by name; None for one that is to be taken away. Raises Failure for what is none."""

    found: dict[Any, Any] = {}
    for each in given:
        name, equals, text = each.partition("=")
        field, _, member = name.partition(".")
        if not equals:
            raise Failure(f"--claim {name}: needs a value, as NAME=VALUE")
        if field == "address" and member in standard_claims.ADDRESS:
            found.setdefault("address", {})[member] = text or None
        elif name in standard_claims.FLAGS and text in ("true", "false", ""):
            found[name] = text == "true" if text else None
        elif name in standard_claims.TEXTS:
            found[name] = text or None
        else:
            raise Failure(f"--claim {name}: is no claim with such a value")
    return found


def read_password(from_stdin: bool) -> str:
    """The password, never from the command line, which everybody on the machine can read."""
    if from_stdin:
        return read_line()
    password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return password


async def hashed(services: CommandServices, password: str, *names: str | None) -> str:
    """The hash of a password for the person with these names; raises Failure for one that may not be set."""
    settings = services.settings
    hasher = Hasher(
        Argon2Parameters(settings.argon2_memory, settings.argon2_time, settings.argon2_parallelism), threads=1
    )
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
    if await services.ledger.read(accounts.by_id, who) is not None:
        return who
    field: present.Login = "email" if "@" in who else "username"
    found = await services.ledger.look(present.person_by_login, services.ledger.privacy, field, realm, who)
    if found is None:
        raise Failure(f"WHO: there is no such person in the realm {realm}")
    return found.account_id


async def members(services: CommandServices, account_id: str) -> dict[str, Any]:
    """A person as the API shows them; raises Missing, for an erased one too."""
    found = asdict(await services.ledger.read(person_bodies.read_person, services.ledger.privacy, account_id))
    address = found["address"]
    return found | {"address": None if address is None else to_builtins(address)}


# `grantlog role …`.


@click.group()
def role() -> None:
    """Decide what people may have."""


@role.command("list")
@as_json
def list_roles(as_json: bool) -> None:
    """List the roles of every realm."""

    async def work(services: CommandServices) -> list[Mapping[str, Any]]:
        found = await services.every(roles.page)
        return [
            {"realm": each.realm, "name": each.name, "scopes": each.scopes, "default": each.default} for each in found
        ]

    print_list(run(work), ("realm", "name", "default", "scopes"), as_json)


@role.command("put")
@click.argument("realm")
@click.argument("name")
@click.option("--scope", default="", metavar="NAMES", help="What the role allows: scope names, separated by blanks.")
@click.option("--default/--no-default", default=False, help="Whether people made without roles get this one.")
@as_json
def put_role(realm: str, name: str, scope: str, default: bool, as_json: bool) -> None:
    """Define a role, or change it to this."""
    scopes = tuple(scope.split())

    command = permissions.put_role(realm, name, scopes_allowed=scopes, default=default, by=operator)
    run(lambda services: services.execute(command))
    print_one({"realm": realm, "name": name, "scopes": scopes, "default": default}, as_json)


@role.command("retire")
@click.argument("realm")
@click.argument("name")
def retire_role(realm: str, name: str) -> None:
    """End a role that nobody has."""
    run(lambda services: services.execute(permissions.retire_role(realm, name, by=operator)))


# `grantlog scope …`.


@click.group()
def scope() -> None:
    """Define what applications can ask for."""


@scope.command("list")
@as_json
def list_scopes(as_json: bool) -> None:
    """List scopes by name."""

    async def work(services: CommandServices) -> list[Mapping[str, Any]]:
        found = await services.ledger.read(scopes.all_of)
        return [{"name": each.name, "description": each.description} for each in found]

    print_list(run(work), ("name", "description"), as_json)


@scope.command("put")
@click.argument("name")
@click.argument("description")
@as_json
def put_scope(name: str, description: str, as_json: bool) -> None:
    """Define a scope, or describe it anew.

    DESCRIPTION completes "It asks to:" in a person's words, such as "See your orders"."""
    run(lambda services: services.execute(permissions.put_scope(name, description, by=operator)))
    print_one({"name": name, "description": description}, as_json)


@scope.command("retire")
@click.argument("name")
def retire_scope(name: str) -> None:
    """End a scope that no client and no role names any more."""
    run(lambda services: services.execute(permissions.retire_scope(name)))


# `grantlog realm …`.


@click.group()
def realm() -> None:
    """Make realms, and say what they ask of their people."""


@realm.command("list")
@as_json
def list_realms(as_json: bool) -> None:
    """List realms with what each asks beside a password."""

    async def work(services: CommandServices) -> list[Mapping[str, Any]]:
        state: realm_policy.State = await services.ledger.state(realm_policy.STREAM)
        return [_realm(name, state.of(name)) for name in state.realms]

    print_list(run(work), ("name", "second_factor", "required_for", "registration"), as_json)


@realm.command("put")
@click.argument("name")
@click.option(
    "--second-factor",
    type=click.Choice(get_args(Demand)),
    help="Asked of nobody, of who has one, of everybody, or of who would get certain scopes too. Without it that stays"
    " as it is: `optional` in a new realm.",
)
@click.option("--required-for", metavar="NAMES", help="Those scopes, separated by blanks.")
@click.option(
    "--registration",
    type=click.Choice(get_args(SelfRegistration)),
    help="Whether people may register themselves. Without it that stays as it is.",
)
@as_json
def put_realm(
    name: str,
    second_factor: Demand | None,
    required_for: str | None,
    registration: SelfRegistration | None,
    as_json: bool,
) -> None:
    """Make a realm, or change what it asks of its people."""
    command = realm_policies.put(
        name,
        second_factor=second_factor,
        required_for=None if required_for is None else tuple(required_for.split()),
        registration=registration,
        by=operator,
    )

    async def work(services: CommandServices) -> RealmPolicy:
        await services.execute(command)
        state: realm_policy.State = await services.ledger.state(realm_policy.STREAM)
        return state.of(name)

    print_one(_realm(name, run(work)), as_json)


def _realm(name: str, policy: RealmPolicy) -> dict[str, Any]:
    return {
        "name": name,
        "second_factor": policy.second_factor,
        "required_for": policy.required_for,
        "registration": policy.registration,
    }
