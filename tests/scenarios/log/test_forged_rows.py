"""A row is a hint: whatever somebody writes into the projections, the log decides."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, delete, insert, select, update

from api.leaks import address_target
from domain.rules.standard_claims import KEPT
from eventstore.database.engines import is_sqlite
from projections import PROJECTIONS, grants, incidents, sessions, tokens
from security.keyring import Keyring
from security.tokens import Kind, new_id
from tests.scenarios.administration import administering, ok
from tests.scenarios.log.forged_rows import (
    Cast,
    Spoilt,
    cast,
    decisions,
    forget,
    hostile,
    intruding,
    refusals,
    sha256,
)
from tests.scenarios.world import ADDRESS, World, open_world

pytestmark = pytest.mark.anyio

LEADS: dict[str, frozenset[str]] = {
    "accounts": frozenset({"account_id", "realm", "username_index", "email_index"}),
    "clients": frozenset({"client_id", "slug"}),
    "erasures": frozenset({"account_id", "due_at"}),
    "foreign_hashes": frozenset({"account_id", "realm", "work"}),
    "upstream_links": frozenset({"account_id", "upstream", "realm", "issuer", "sub_index"}),
    "session_grants": frozenset({"grant_id", "session_id", "client_id", "account_id", "expires_at"}),
    "sessions": frozenset({"session_id", "sha256"}),
    "tokens": frozenset({"digest", "position"}),
    "roles": frozenset({"realm", "name"}),
    "scopes": frozenset({"name"}),
    "digests": frozenset({"digest", "position"}),
    "archived_digests": frozenset({"run", "key", "entries"}),
    "secrets": frozenset({"secret_id", "sha256"}),
    "incidents": frozenset({"incident_id", "state", "sha256", "target", "client_id", "account_id"}),
    "incident_secrets": frozenset({"incident_id", "sha256"}),
    "rotations": frozenset({"client_id", "maximum_age", "warning", "made_at", "announced"}),
}
"""Columns that say where to look. Spoilt, they lead nowhere: what they led to is refused, and nobody gets more."""

NARROWS: dict[str, frozenset[str]] = {
    "accounts": frozenset({"roles", "state", "position"}),
    "clients": frozenset({"allowed_origins", "scope", "state"}),
    "roles": frozenset({"scopes"}),
}
"""Columns by which candidates are chosen, each of which the log is then asked about. Of who holds a role or names a
scope, somebody can be hidden so that it may be retired; nobody can be invented."""

DECIDES_NOTHING: dict[str, frozenset[str]] = {
    "accounts": frozenset(
        {
            *("username", "email", "name", *KEPT, "cutoff", "password_cutoff", "password_except", "windows"),
            *("created_at", "updated_at"),
        }
    ),
    "clients": frozenset(
        {
            *(
                "position",
                "type",
                "realm",
                "client_name",
                "name_key",
                "redirect_uris",
                "grant_types",
                "token_endpoint_auth_method",
            ),
            *("require_pkce", "access_token_lifetime", "refresh_token_lifetime", "tokens_per_minute"),
            *("owner", "cutoff", "windows", "resources", "serves"),
            *("id_token_signed_response_alg", "userinfo_signed_response_alg"),
            "require_pushed_authorization_requests",
            *("post_logout_redirect_uris", "backchannel_logout_uri", "backchannel_logout_session_required"),
            *("subject_type", "sector_identifier_uri"),
            *("token_exchange", "keys", "token_endpoint_auth_signing_alg", "self_registered", "metadata_uri"),
            "first_party",
            "access_token_format",
            "authorization_details_types",
            "dpop_bound_access_tokens",
            "tls_client_certificate_bound_access_tokens",
            "profile",
            *("require_signed_request_object", "request_object_signing_alg", "authorization_signed_response_alg"),
            *("created_at", "updated_at"),
        }
    ),
    "consents": frozenset({"account_id", "client_id", "scope", "cutoff", "given_at", "updated_at"}),
    "sessions": frozenset({"account_id", "realm", "position", "started_at", "expires_at"}),
    "tokens": frozenset(
        {
            *("kind", "grant_id", "client_id", "account_id", "secret_id", "scope", "issued_at", "expires_at"),
            *("prune_at", "ended_position", "alone"),
        }
    ),
    "roles": frozenset({"is_default"}),
    "scopes": frozenset({"description"}),
    "secrets": frozenset(
        {"client_id", "version", "created_at", "not_before", "expires_at", "revoked_at", "tokens_cutoff"}
    ),
    "secret_uses": frozenset({"secret_id", "use_count", "last_used_at"}),
    "grants": frozenset(column.name for column in grants.TABLE.columns),
    "incident_secrets": frozenset({"kind", "position"}),
    "incidents": frozenset(column.name for column in incidents.TABLE.columns) - LEADS["incidents"],
}
"""Columns that are shown, counted, pruned by or searched by, and that nothing is decided by."""


def _tables() -> dict[str, Table]:
    found = {}
    for module in PROJECTIONS:
        for table in getattr(module, "TABLES", None) or (module.TABLE,):
            found[table.name] = table
    return found


TABLES = _tables()


def test_every_column_of_every_read_model_has_its_rule() -> None:
    """Whoever adds a column says what it may decide."""
    for name, table in TABLES.items():
        columns = [column.name for column in table.columns]
        stated = [each for rule in (LEADS, NARROWS, DECIDES_NOTHING) for each in sorted(rule.get(name, ()))]
        assert sorted(stated) == sorted(columns), name
    assert {*LEADS, *NARROWS, *DECIDES_NOTHING} == set(TABLES)


@pytest.fixture
def settings_given() -> dict[str, Any]:
    """The clock stands still while somebody signs in for each column."""
    return {"person_tokens_per_minute": 1_000_000, "public_burst": 1_000_000}


@pytest.fixture
async def actors(world: World) -> Cast:
    return await cast(world)


async def as_ever(world: World, actors: Cast, expected: dict[str, Any], what: str) -> None:
    found = await decisions(world, actors)
    assert found == expected, what


@pytest.mark.parametrize("name", sorted({*NARROWS, *DECIDES_NOTHING}))
async def test_what_stands_in_other_columns_decides_nothing(
    world: World, actors: Cast, database_url: str, name: str
) -> None:
    """On SQLite column by column; what PostgreSQL would make of one it makes of all together as well."""
    expected = await decisions(world, actors)
    table = TABLES[name]
    columns = sorted(NARROWS.get(name, frozenset()) | DECIDES_NOTHING.get(name, frozenset()))
    with intruding(database_url) as connection:
        spoilt = Spoilt(connection, table)
        connection.commit()
        for together in [[each] for each in columns] if is_sqlite(database_url) else beside_keys(table, columns):
            # In the tables of things that all come from one event each, one value tells as much as the next.
            values = {column: few(list(hostile(table.columns[column], spoilt.rows))) for column in together}
            for number in range(max(map(len, values.values()))):
                chosen = {column: given[number % len(given)] for column, given in values.items()}
                # A list, since each is to be spoilt, whatever the database took before.
                if any([spoilt.spoil(table.columns[column], value) for column, value in chosen.items()]):
                    forget(world)
                    await as_ever(world, actors, expected, f"{name}: {chosen!r}")
                    spoilt.restore()
    forget(world)
    await as_ever(world, actors, expected, "restored")


@pytest.mark.parametrize("name", sorted(LEADS))
async def test_row_that_leads_nowhere_is_refused_and_grants_nothing(
    world: World, actors: Cast, database_url: str, name: str
) -> None:
    expected = await decisions(world, actors)
    table = TABLES[name]
    with intruding(database_url) as connection:
        spoilt = Spoilt(connection, table)
        connection.commit()
        for column in sorted(LEADS[name]):
            values = list(hostile(table.columns[column], spoilt.rows))
            for value in values if is_sqlite(database_url) else few(values):
                if spoilt.spoil(table.columns[column], value):
                    forget(world)
                    found = await decisions(world, actors)
                    refused = set(refusals(found))
                    stands = {each: answer for each, answer in found.items() if each not in refused}
                    assert stands == {each: expected[each] for each in stands}, f"{name}.{column} = {value!r}"
                    spoilt.restore()
    forget(world)
    await as_ever(world, actors, expected, "restored")


def few(values: list[Any]) -> list[Any]:
    """One that stands in another row, and the last of those that somebody made up."""
    return values[:1] + values[-2:]


def beside_keys(table: Table, columns: list[str]) -> list[list[str]]:
    """All columns together but those that a row is found by again, each of which is alone."""
    keys = [each.name for each in table.primary_key if each.name in columns]
    return [
        together for together in ([each for each in columns if each not in keys], *([key] for key in keys)) if together
    ]


# Particular wishes ------------------------------------------------------------------------------------------------


async def test_an_inserted_row_is_no_token(world: World, actors: Cast, database_url: str, keyring: Keyring) -> None:
    """Neither at an event that issued another token, nor at one that issued none, nor at none at all."""
    admin = await administering(world)
    ok(await admin.get("/admin/clients"))
    with intruding(database_url) as connection:
        rows = [dict(row._mapping) for row in connection.execute(select(tokens.TABLE))]
        places = [max(rows, key=lambda row: row["position"])["position"], 1, 0, 2**40]
        forged = {place: world.services.format.mint(Kind.ACCESS_TOKEN) for place in places}
        for place, secret in forged.items():
            new = rows[-1] | {"digest": secret.sha256, "position": place, "ended_position": None}
            connection.execute(insert(tokens.TABLE), new | {"scope": "people:write clients:write"})
        connection.commit()
    async with fresh(world, database_url, keyring) as other:
        for services in (world, other):
            for secret in forged.values():
                caller = services.caller(headers={"authorization": f"Bearer {secret.reveal()}"})
                assert (await caller.get("/admin/clients")).status_code == 401
                answer = await services.client.post(
                    "/oauth/introspect", data={"token": secret.reveal()}, auth=actors.scene.shop.auth
                )
                assert answer.json() == {"active": False}
                data = {"grant_type": "refresh_token", "refresh_token": secret.reveal()}
                answer = await services.client.post("/oauth/token", data=data, auth=actors.scene.shop.auth)
                assert answer.json()["error"] == "invalid_grant"
        # Nothing was taken for a replay of what the grant that the row names had given before.
        assert await other.events("grant.ended") == ()
        assert await other.events("grant.refresh_replayed") == ()
        ok(await admin.get("/admin/clients"))


async def test_nothing_revives_a_token(world: World, actors: Cast, database_url: str, keyring: Keyring) -> None:
    expected = await decisions(world, actors)
    assert expected["token revoked"] == {"active": False}
    with intruding(database_url) as connection:
        connection.execute(update(tokens.TABLE).values(ended_position=None, expires_at=2**60, prune_at=2**60))
        connection.execute(update(grants.TABLE).values(ended_at=None, ended_position=None, expires_at=2**60))
        row = connection.execute(
            select(grants.TABLE.c.refresh_digest).where(grants.TABLE.c.predecessor_digest.is_not(None))
        )
        assert row.first() is not None
        rotated = sha256(actors.tokens["rotated"])
        connection.execute(update(grants.TABLE).values(refresh_digest=rotated, predecessor_digest=None))
        connection.commit()
    async with fresh(world, database_url, keyring) as other:
        for services in (world, other):
            await as_ever(services, actors, expected, "revived")


async def test_a_session_moves_to_nobody(world: World, actors: Cast, database_url: str, keyring: Keyring) -> None:
    expected = await decisions(world, actors)
    assert (expected["session live"], expected["session ended"]) == ("paul", None)
    (ada,) = [each for each in await world.events("account.registered") if each.event.realm == "administration"]
    ended = actors.browsers["ended"]["grantlog-session-platform"].split(".")[0]
    with intruding(database_url) as connection:
        row = dict(connection.execute(select(sessions.TABLE)).one()._mapping)
        connection.execute(update(sessions.TABLE).values(account_id=ada.stream.partition(":")[2]))
        first = (await world.events("session.started"))[-1]
        again = {"session_id": first.stream.partition(":")[2], "sha256": sha256(ended)}
        connection.execute(insert(sessions.TABLE), row | again)
        connection.commit()
    async with fresh(world, database_url, keyring) as other:
        for services in (world, other):
            await as_ever(services, actors, expected, "moved")
    with intruding(database_url) as connection:
        # The browser whose session is over would have the other's.
        connection.execute(sessions.TABLE.delete().where(sessions.TABLE.c.session_id != row["session_id"]))
        connection.execute(update(sessions.TABLE).values(sha256=sha256(ended)))
        connection.commit()
    found = await decisions(world, actors)
    assert (found["session live"], found["session ended"]) == (None, None)


async def test_a_name_leads_to_nobody_else(world: World, actors: Cast, database_url: str, keyring: Keyring) -> None:
    """Whoever knows another person's password does not sign in under this one's name, nor this one under theirs."""
    expected = await decisions(world, actors)
    other = await world.register_person("mallory", password="another long and unguessable one")
    accounts = TABLES["accounts"]
    with intruding(database_url) as connection:
        mine, theirs = (
            dict(connection.execute(select(accounts).where(accounts.c.account_id == each)).one()._mapping)
            for each in (actors.scene.person.account_id, other.account_id)
        )
        of_mine = update(accounts).where(accounts.c.account_id == mine["account_id"])
        connection.execute(of_mine.values(username_index=None, email_index=None))
        taken = {name: mine[name] for name in ("username_index", "email_index", "username", "email", "roles")}
        connection.execute(update(accounts).where(accounts.c.account_id == theirs["account_id"]).values(**taken))
        connection.commit()
    async with fresh(world, database_url, keyring) as fresh_one:
        for services in (world, fresh_one):
            body = {"username": actors.scene.person.username, "password": other.password}
            answer = await services.caller().post(
                f"/dashboards/{actors.dashboard.slug}/login", json=body, headers={"origin": services.settings.issuer}
            )
            assert answer.status_code == 401
            found = await decisions(services, actors)
            assert set(refusals(found)) - set(refusals(expected)) == {"sign-in"}


async def test_a_closed_incident_is_not_gone_on_with(world: World, actors: Cast, database_url: str) -> None:
    admin = await administering(world)
    about = {"client_id": actors.service.client_id}
    first = ok(await admin.post("/leaks/contain", json=about))["incident_id"]
    ok(await admin.post(f"/leaks/incidents/{first}/close", json={}))
    with intruding(database_url) as connection:
        connection.execute(update(incidents.TABLE).values(state="contained"))
        connection.commit()
    second = ok(await admin.post("/leaks/contain", json=about))["incident_id"]
    assert second != first
    with intruding(database_url) as connection:
        connection.execute(update(incidents.TABLE).values(client_id=new_id()))
        connection.commit()
    assert ok(await admin.post("/leaks/contain", json=about))["incident_id"] not in (first, second)


async def test_session_end_spares_a_grant_inserted_into_it(world: World, actors: Cast, database_url: str) -> None:
    admin = await administering(world)
    other = await world.register_person("mallory")
    browser = await actors.scene.signed_in(other)
    foreign = await actors.scene.redeem(await actors.scene.approved(browser))
    session = actors.browsers["live"]["grantlog-session-platform"].split(".")[0]
    (mine, *_) = [each for each in await world.events("session.started")]
    with intruding(database_url) as connection:
        mixed = {"session_id": mine.stream.partition(":")[2], "account_id": mine.event.account_id}
        connection.execute(update(grants.TABLE).where(grants.TABLE.c.account_id == other.account_id).values(mixed))
        connection.commit()
    ok(await admin.post("/leaks/contain", json={"secret": session}))
    answers = [
        await world.client.post("/oauth/introspect", data={"token": raw}, auth=actors.scene.shop.auth)
        for raw in (actors.tokens["access"], foreign["access_token"])
    ]
    assert [each.json()["active"] for each in answers] == [False, True]


@pytest.mark.parametrize("change", ["ended", "expired", "deleted"])
async def test_no_row_exempts_a_grant_or_session_from_an_address_end(
    world: World, actors: Cast, database_url: str, change: str
) -> None:
    admin, before = await administering(world), await world.head()
    table, sessions_table = grants.TABLE, sessions.TABLE
    with intruding(database_url) as connection:
        if change == "deleted":
            connection.execute(delete(table))
        elif change == "expired":
            connection.execute(update(table).values(expires_at=1))
            connection.execute(update(sessions_table).values(expires_at=1))
        else:
            connection.execute(update(table).values(ended_position=1))
        connection.commit()
    contained = ok(await admin.post("/leaks/contain", json={"address": ADDRESS}))["contained"]
    await address_target.settle(world.services.ledger)
    ended = await world.events("grant.ended", after=before)
    assert len(ended) == len({each.stream for each in ended}) == contained["grants_ended"] > 3
    live = [each.stream for each in await world.events("session.started")]
    over = [each.stream for each in await world.events("session.ended")]
    assert sorted(over) == sorted(live)
    for name in ("access", "refresh", "service"):
        owner = actors.service if name == "service" else actors.scene.shop
        found = await world.client.post("/oauth/introspect", data={"token": actors.tokens[name]}, auth=owner.auth)
        assert found.json() == {"active": False}, name


def fresh(world: World, database_url: str, keyring: Keyring) -> Any:
    """A process that has just begun, beside the one that runs."""
    directory = Path(world.settings.data_dir) / "another"
    return open_world(database_url, directory, keyring, world.clock)
