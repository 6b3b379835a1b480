"""`/metrics` tells what happened, and nothing about whom."""

from sqlalchemy import Connection

from commands.clients import mint_secret, rotate_secret
from commands.incidents import LeakReport, report
from commands.permissions import operator
from projections.event_index import FOLLOWERS
from tests.scenarios.dashboards.platform import PLATFORM, make_dashboard
from tests.scenarios.world import World


def _value(text: str, series: str) -> float:
    return next((float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(series)), 0.0)


async def test_it_counts_by_route_and_names_nobody(world: World) -> None:
    client = await world.register_client(grant_types=("client_credentials",), scope=("orders",))
    for _ in range(3):
        await world.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=client.auth)
    await world.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=(client.client_id, "no"))
    await world.client.get(f"/no/such/{client.client_id}")
    answer = await world.operators.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    text = answer.text
    assert _value(text, 'grantlog_requests_total{method="POST",route="/oauth/token",status="2xx"}') == 3
    assert _value(text, 'grantlog_requests_total{method="POST",route="/oauth/token",status="4xx"}') == 1
    assert _value(text, 'grantlog_requests_total{method="GET",route="(none)",status="4xx"}') == 1
    assert _value(text, 'grantlog_request_seconds_count{route="/oauth/token"}') == 4
    assert _value(text, "grantlog_log_position") == await world.head()
    assert _value(text, "grantlog_database_up") == 1
    assert _value(text, "grantlog_batch_commands_count") >= 4
    assert client.client_id not in text


async def test_who_is_told_to_wait_is_counted_by_rule(world: World) -> None:
    client = await world.register_client(grant_types=("client_credentials",), scope=("orders",))
    for _ in range(11):
        refused = await world.client.post(
            "/oauth/token", data={"grant_type": "client_credentials"}, auth=(client.client_id, "wrong")
        )
    assert refused.status_code == 429
    assert _value((await world.operators.get("/metrics")).text, 'grantlog_throttled_total{rule="client_pair"}') == 1


async def test_a_look_at_it_commits_nothing(world: World) -> None:
    before = await world.head()
    await world.operators.get("/metrics")
    assert await world.head() == before


async def test_how_far_whatever_follows_the_log_lags_behind(world: World) -> None:
    client = await world.register_client(grant_types=("client_credentials",), scope=("orders",))
    behind = {"event_index": 7, "sightings": 3}

    def fall_back(connection: Connection, head: int) -> None:
        for name, events in behind.items():
            reached = FOLLOWERS.update().where(FOLLOWERS.c.name == name).values(position=head - events)
            assert connection.execute(reached).rowcount == 1

    await world.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=client.auth)
    await world.services.follower.follow()
    text = (await world.operators.get("/metrics")).text
    assert [_value(text, f'grantlog_lag_events{{follower="{name}"}}') for name in behind] == [0, 0]
    await world.services.ledger.maintain(fall_back, await world.head())
    text = (await world.operators.get("/metrics")).text
    assert {name: _value(text, f'grantlog_lag_events{{follower="{name}"}}') for name in behind} == behind
    assert 'grantlog_lag_events{follower="log_tree"}' in text


async def test_what_was_decided_is_counted_by_kind_and_reason(world: World) -> None:
    client = await world.register_client(grant_types=("client_credentials",), scope=("orders",))
    await world.define_role("platform", "member", *PLATFORM, default=True)
    board = await make_dashboard(world)
    person = await world.register_person()
    await world.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=client.auth)
    await world.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=(client.client_id, "no"))
    assert (await board.login(person, password="another one")).status_code == 401
    await board.refresh((await board.sign_in(person))[1])
    text = (await world.operators.get("/metrics")).text
    counted = {
        'grantlog_tokens_total{grant_type="client_credentials"}': 1,
        'grantlog_tokens_total{grant_type="password"}': 1,
        'grantlog_tokens_total{grant_type="refresh_token"}': 1,
        'grantlog_sign_ins_total{outcome="succeeded"}': 1,
        'grantlog_sign_ins_total{outcome="failed"}': 1,
        'grantlog_refusals_total{error="invalid_client",reason="wrong_secret"}': 1,
        'grantlog_refusals_total{error="invalid_grant",reason=""}': 1,
        "grantlog_incidents_open": 0,
        "grantlog_secrets_expiring": 0,
    }
    assert {series: _value(text, series) for series in counted} == counted


async def test_open_incidents_and_last_secrets_are_counted(world: World) -> None:
    client = await world.register_client(grant_types=("client_credentials",), scope=("orders",))
    _, new = mint_secret(world.services.format, lifetime=13 * 86_400)
    await world.execute(rotate_secret(client.client_id, new, others_expire_in=60, by=operator))
    text = (await world.operators.get("/metrics")).text
    assert _value(text, "grantlog_secrets_expiring") == 1
    _, lasting = mint_secret(world.services.format)
    await world.execute(rotate_secret(client.client_id, lasting, by=operator))
    text = (await world.operators.get("/metrics")).text
    assert _value(text, "grantlog_secrets_expiring") == 0
    await world.execute(report("incident", LeakReport(source="administrator")))
    text = (await world.operators.get("/metrics")).text
    assert _value(text, "grantlog_incidents_open") == 1
