"""`grantlog client|dashboard …` and `grantlog bootstrap`: clients, dashboards included, and their secrets."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

import msgspec
import rich_click as click
from msgspec.structs import asdict

from api.admin.bodies import client_bodies
from api.admin.bodies.client_bodies import secret_expiry
from api.admin.bodies.key_members import CERTIFICATE_MEMBERS, KeySet
from api.admin.client_secrets import policy_of, secret_body
from cli.command_services import CommandServices, run
from cli.terminal import Failure, as_json, moment, output, print_list, print_one, secret_file
from commands import clients
from commands.permissions import operator
from commands.servers import ADMINISTRATION_SCOPES
from domain.client import Attributes, State, stream
from domain.rules import origin, public_key
from domain.rules.client_metadata import NO_KEYS, AuthMethod, CertificateName, ClientKeys
from eventstore.execution import Step
from eventstore.present import dashboard_by_slug
from eventstore.projecting.catch_up import CatchUpSubscription, Sightings
from eventstore.view import View
from projections import clients as client_rows
from projections import secrets
from security import client_certificates
from security.tokens import new_id

DAY = 86_400
VERSIONS = (
    *("version", "id", "state", "created_at", "not_before", "expires_at", "last_used_at", "use_count"),
    "safe_to_retire_reason",
)
COLUMNS = ("client_id", "client_name", "type", "state", "realm", "scope")


@click.group()
def client() -> None:
    """Register clients and rotate their secrets."""


@client.command()
@click.option("--name", "client_name", required=True, help="Name that people see.")
@click.option("--grant-type", "grant_types", multiple=True, default=("authorization_code",), show_default=True)
@click.option("--redirect-uri", "redirect_uris", multiple=True, metavar="URI", help="Where answers go; repeatable.")
@click.option("--scope", default="", metavar="NAMES", help="Scope names, separated by blanks.")
@click.option("--auth-method", type=click.Choice(get_args(AuthMethod)))
@click.option(
    "--jwks",
    type=click.File("rb"),
    metavar="FILE",
    help="Its public keys, a JWK Set, for --auth-method private_key_jwt.",
)
@click.option("--jwks-uri", metavar="URI", help="Where its public keys are, in the place of --jwks.")
@click.option(
    "--certificate",
    metavar="MEMBER=NAME",
    help=f"The name in its certificate, for --auth-method tls_client_auth: {', '.join(CERTIFICATE_MEMBERS)}.",
)
@click.option("--public", is_flag=True, help="A client that cannot keep a secret: --auth-method none.")
@click.option("--no-pkce", is_flag=True, help="Let a confidential client of old do without PKCE.")
@click.option("--access-token-lifetime", type=int, metavar="SECONDS")
@click.option("--refresh-token-lifetime", type=int, metavar="SECONDS")
@click.option("--realm", default="platform", show_default=True)
@click.option("--allowed-origin", "allowed_origins", multiple=True, metavar="ORIGIN", help="For browsers; repeatable.")
@click.option("--tokens-per-minute", type=int, metavar="NUMBER", help="That it may obtain for itself.")
@click.option("--resource", "resources", multiple=True, metavar="URI", help="What its tokens may be for; repeatable.")
@click.option("--serves", multiple=True, metavar="URI", help="What it is, to introspect tokens for it; repeatable.")
@click.option(
    "--id-token-signed-response-alg",
    type=click.Choice(["RS256", "ES256", "PS256", "EdDSA"]),
    default="RS256",
    show_default=True,
    help="By which its id_tokens are signed.",
)
@click.option("--owner", help="Who answers for it; sealed like all personal data.")
@click.option("--secret-lifetime", type=int, metavar="SECONDS", help="When its first secret ends; never, if left out.")
@output
@as_json
def register(
    scope: str,
    auth_method: str | None,
    jwks: BinaryIO | None,
    jwks_uri: str | None,
    certificate: str | None,
    public: bool,
    no_pkce: bool,
    owner: str | None,
    secret_lifetime: int | None,
    output: Path | None,
    as_json: bool,
    **named: Any,
) -> None:
    """Register a client. Its secret is shown once, if it has one."""
    if public and auth_method not in (None, "none"):
        raise click.UsageError("--public is --auth-method none")
    named |= {
        "scope": tuple(scope.split()),
        "token_endpoint_auth_method": "none" if public else auth_method or "client_secret_basic",
        "require_pkce": not no_pkce,
    }
    keys = NO_KEYS if jwks is None else _keys(jwks.read())
    keys = msgspec.structs.replace(keys, jwks_uri=jwks_uri, certificate=_certificate(certificate))
    work = partial(registered, attributes=named, keys=keys, owner=owner, lifetime=secret_lifetime)
    with secret_file(output) as hand_over:
        hand_over(run(work), as_json)


def _keys(text: bytes) -> ClientKeys:
    """The keys of a file; raises the usage error that it is."""
    try:
        return ClientKeys(jwks=public_key.read(msgspec.json.decode(text, type=KeySet).keys))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise click.UsageError("--jwks is no JWK Set (RFC 7517 §5)") from None
    except public_key.NotTaken as problem:
        raise click.UsageError(f"--jwks {problem}") from None


def _certificate(text: str | None) -> CertificateName | None:
    """The name that a certificate has; raises the usage error that it is."""
    if text is None:
        return None
    named, _, value = text.partition("=")
    member = next((each for each in CERTIFICATE_MEMBERS if each == named), None)
    if member is None:
        raise click.UsageError("--certificate begins with one of " + ", ".join(CERTIFICATE_MEMBERS) + " and =")
    if problem := client_certificates.name_problem(member, value):
        raise click.UsageError(f"--certificate {problem}")
    return CertificateName(member, value)


async def registered(
    services: CommandServices,
    attributes: Mapping[str, Any],
    *,
    keys: ClientKeys = NO_KEYS,
    owner: str | None = None,
    lifetime: int | None = None,
) -> Mapping[str, Any]:
    """Registers a client; its members, with the secret that is now shown for the only time."""
    client_id = new_id()
    registration, secret = clients.new_registration(
        Attributes(**attributes), services.format, keys=keys, owner=owner, lifetime=lifetime
    )
    await services.execute(clients.register(client_id, registration, issuer=services.settings.issuer, by=operator))
    shown = await members(services, client_id)
    if secret is None:
        return shown
    state: State = await services.ledger.state(stream(client_id))
    expires_at = secret_expiry(state.secrets[0].expires_at)
    return shown | {"client_secret": secret.reveal(), "client_secret_expires_at": expires_at}


@client.command("list")
@as_json
def list_(as_json: bool) -> None:
    """List clients in the order of their registration."""

    async def work(services: CommandServices) -> list[Mapping[str, Any]]:
        found = await services.every(client_rows.page)
        return [await members(services, each.client_id) for each in found]

    print_list(run(work), COLUMNS, as_json)


@client.command()
@click.argument("client_id")
@as_json
def show(client_id: str, as_json: bool) -> None:
    """Show a client and its secret versions; the secrets themselves are not kept."""

    async def work(services: CommandServices) -> Mapping[str, Any]:
        return await members(services, client_id) | {"secrets": await versions(services, client_id)}

    shown = dict(run(work))
    if as_json:
        print_one(shown, as_json)
        return
    secrets = shown.pop("secrets")
    print_one(shown, as_json)
    click.echo()
    print_list(secrets, VERSIONS, as_json)


@client.command()
@click.argument("client_id")
@as_json
def disable(client_id: str, as_json: bool) -> None:
    """Let a client do nothing more, and end all its tokens for good."""
    print_one(_done(client_id, clients.disable(client_id)), as_json)


@client.command()
@click.argument("client_id")
@as_json
def enable(client_id: str, as_json: bool) -> None:
    """Let a client have new tokens; what was ended stays so."""
    print_one(_done(client_id, clients.enable(client_id, by=operator)), as_json)


def _done(client_id: str, command: Step) -> Mapping[str, Any]:
    async def work(services: CommandServices) -> Mapping[str, Any]:
        await services.execute(command)
        return await members(services, client_id)

    return run(work)


async def members(services: CommandServices, client_id: str) -> dict[str, Any]:
    """A client as the API shows it; raises Missing."""
    return asdict(await services.ledger.read(client_bodies.read_client, services.ledger.privacy, client_id))


# Secrets ----------------------------------------------------------------------------------------------------------


@client.command("rotate-secret")
@click.argument("client_id")
@click.option(
    "--others-expire-in",
    type=int,
    metavar="SECONDS",
    help="When the former secrets end: 0 is now; left out, as the rotation policy says, or never.",
)
@click.option(
    "--secret-lifetime",
    type=int,
    metavar="SECONDS",
    help="When the new one ends; left out, as the rotation policy says, or never.",
)
@click.option(
    "--not-before-in",
    type=int,
    metavar="SECONDS",
    help="When the new one begins to work: now, if left out. The others must last as long.",
)
@output
@as_json
def rotate_secret(
    client_id: str,
    others_expire_in: int | None,
    secret_lifetime: int | None,
    not_before_in: int | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Give a client a new secret, shown once. A dashboard's goes into the vault and is in force at once."""

    async def work(services: CommandServices) -> Mapping[str, Any]:
        secret, new = clients.mint_secret(services.format, secret_lifetime)
        command = clients.rotate_secret(
            client_id, new, others_expire_in=others_expire_in, not_before_in=not_before_in, by=operator
        )
        version, shown = await services.make(
            command, then=lambda view, _: clients.made_secret(services.ledger.vault, view, client_id, secret)
        )
        named = {"client_id": client_id, "secret_id": version.secret_id, "version": version.version}
        if shown is None:
            return named
        times = {name: moment(getattr(version, name)) for name in ("not_before", "expires_at")}
        return named | {"client_secret": shown} | times

    with secret_file(output) as hand_over:
        hand_over(run(work), as_json)


@client.command("end-secret")
@click.argument("client_id")
@click.argument("secret_id")
@click.option(
    "--tokens",
    type=click.Choice(["keep", "revoke"]),
    default="keep",
    show_default=True,
    help="Whether the tokens that it authenticated live on, or end with it.",
)
@as_json
def end_secret(client_id: str, secret_id: str, tokens: Literal["keep", "revoke"], as_json: bool) -> None:
    """End a version of a client's secret, by the id that `client show` tells. `leaks contain` also tells of a leak."""

    async def work(services: CommandServices) -> Mapping[str, Any]:
        await services.execute(clients.revoke_secret(client_id, secret_id, tokens))
        return next(each for each in await versions(services, client_id) if each["id"] == secret_id)

    print_one(run(work), as_json)


async def versions(services: CommandServices, client_id: str) -> list[dict[str, Any]]:
    """A client's secret versions under the names of the API, oldest first."""
    await CatchUpSubscription(services.ledger, Sightings()).follow()
    now = services.ledger.clock.now()
    found = await services.every(secrets.of_client, client_id, now)
    return [asdict(secret_body(each)) for each in found]


# On schedule ------------------------------------------------------------------------------------------------------


@client.group()
def rotation() -> None:
    """How old a client's newest secret may become, and who is warned when."""


@rotation.command("show")
@click.argument("client_id")
@as_json
def show_rotation(client_id: str, as_json: bool) -> None:
    """Show a client's rotation policy, in seconds, and when its newest secret is due."""
    print_one(run(lambda services: _policy(services, client_id)), as_json)


@rotation.command("set")
@click.argument("client_id")
@click.option(
    "--maximum-age",
    type=int,
    required=True,
    metavar="SECONDS",
    help="How long a version may be the newest; a day at least.",
)
@click.option(
    "--overlap",
    type=int,
    default=7 * DAY,
    show_default=True,
    metavar="SECONDS",
    help="How long the former versions live after a rotation.",
)
@click.option(
    "--warning",
    type=int,
    default=14 * DAY,
    show_default=True,
    metavar="SECONDS",
    help="How early the end of its time is announced, to `grantlog notifications destinations`.",
)
@as_json
def set_rotation(client_id: str, maximum_age: int, overlap: int, warning: int, as_json: bool) -> None:
    """Set a client's rotation policy. The server rotates a dashboard's secret itself, and warns of any other."""
    command = clients.set_rotation_policy(client_id, maximum_age=maximum_age, overlap=overlap, warning=warning)
    print_one(run(lambda services: _changed(services, client_id, command)), as_json)


@rotation.command("remove")
@click.argument("client_id")
def remove_rotation(client_id: str) -> None:
    """Remove a client's rotation policy. Versions that have an end keep it."""
    run(lambda services: services.execute(clients.remove_rotation_policy(client_id)))


async def _changed(services: CommandServices, client_id: str, command: Step) -> Mapping[str, Any]:
    await services.execute(command)
    return await _policy(services, client_id)


async def _policy(services: CommandServices, client_id: str) -> Mapping[str, Any]:
    return asdict(await policy_of(services.ledger, client_id))


# The first one ----------------------------------------------------------------------------------------------------


@click.command()
@click.option("--name", default="Administration service", show_default=True, help="The client's name.")
@click.option("--again", is_flag=True, help="Make one although there is one already.")
@output
@as_json
def bootstrap(name: str, again: bool, output: Path | None, as_json: bool) -> None:
    """Make the first service client, which holds every administrative scope.

    It obtains administrator tokens by client_credentials. Its secret is shown once. The first person who may administer
    is made with `grantlog person add --realm administration --role administrator`."""

    async def work(services: CommandServices) -> Mapping[str, Any]:
        known = await services.every(client_rows.page)
        former = [
            each.client_id
            for each in known
            if "client_credentials" in each.grant_types and "clients:write" in each.scope
        ]
        if former and not again:
            raise Failure(
                f"there is a service client already: {former[0]}. If its secret is lost, run "
                f"`grantlog client rotate-secret {former[0]}`; to make another one all the same, add --again"
            )
        attributes = {
            "client_name": name,
            "grant_types": ("client_credentials",),
            "scope": tuple(ADMINISTRATION_SCOPES),
        }
        made = await registered(services, attributes)
        return {member: made[member] for member in ("client_id", "client_secret", "scope")}

    with secret_file(output) as hand_over:
        hand_over(run(work), as_json)


# `grantlog dashboard …`.


@click.group()
def dashboard() -> None:
    """Make and change dashboards, whose people sign in with a password alone."""


@dashboard.command("set")
@click.argument("slug")
@click.option("--name", "client_name", help="Name that people see.")
@click.option("--realm")
@click.option(
    "--allowed-origin",
    "allowed_origins",
    multiple=True,
    metavar="ORIGIN",
    help="Where its pages come from; repeatable, same-site with the issuer. A new dashboard has the issuer's own.",
)
@click.option(
    "--resource",
    "resources",
    multiple=True,
    metavar="URI",
    help="What its tokens are for beside the server; repeatable.",
)
@click.option("--scope", metavar="NAMES", help="Scope names, separated by blanks.")
@click.option("--access-token-lifetime", type=int, metavar="SECONDS")
@click.option("--refresh-token-lifetime", type=int, metavar="SECONDS")
@as_json
def set_(slug: str, as_json: bool, scope: str | None, **named: Any) -> None:
    """Make a dashboard, or change what is named of an existing one. Its secret stays in the server's vault."""
    # Nobody named what is None, and of what may be repeated the empty list.
    changes = {name: value for name, value in named.items() if value not in (None, ())}
    if scope is not None:
        changes["scope"] = tuple(scope.split())

    async def work(services: CommandServices) -> Mapping[str, Any]:
        issuer = services.settings.issuer
        if await services.ledger.look(dashboard_by_slug, slug) is None:
            changes.setdefault("allowed_origins", (origin.of_issuer(issuer),))
        client_id, (secret, made) = new_id(), clients.mint_secret(services.format)

        def keep(view: View, _: object) -> str:
            clients.keep_if_made(services.ledger.vault, view, client_id, secret)
            found = view.look(dashboard_by_slug, slug)
            return client_id if found is None else found.client_id

        command = clients.put_dashboard(client_id, slug, Attributes(**changes), secret=made, issuer=issuer, by=operator)
        return await members(services, await services.make(command, then=keep))

    print_one(run(work), as_json)


@dashboard.command("list")
@as_json
def list_dashboards(as_json: bool) -> None:
    """List dashboards."""

    async def work(services: CommandServices) -> list[Mapping[str, Any]]:
        found = await services.every(client_rows.dashboards)
        urls = [f"{services.settings.issuer}/dashboards/{each.slug}/login" for each in found]
        return [
            await members(services, each.client_id) | {"login_url": url} for each, url in zip(found, urls, strict=True)
        ]

    print_list(run(work), ("slug", "client_name", "realm", "state", "login_url"), as_json)
