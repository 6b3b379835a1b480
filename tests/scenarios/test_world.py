"""What the scenarios stand on works by itself."""

from tests.scenarios.world import World


async def test_a_service_gets_a_token_and_the_log_says_so(world: World) -> None:
    before = await world.head()
    token = await world.token("orders")
    assert token.startswith("glog_at_")
    assert (await world.types_after(before))[-1] == "grant.tokens_issued"


async def test_people_get_their_realms_default_roles(world: World) -> None:
    await world.define_role("platform", "member", "orders", default=True)
    person = await world.register_person()
    (registered,) = await world.events("account.*", stream=f"account:{person.account_id}")
    assert registered.event.roles == ("member",)
    assert person.username not in str(registered)
