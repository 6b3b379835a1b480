"""People with a second factor: how they get one in a browser, and what their generators show."""

import re
from dataclasses import dataclass

from security.second_factors import step_at, totp_code
from tests.scenarios.browser import Browser, Page
from tests.scenarios.world import Person, World

FACTORS = "/account/factors"
TOTP = f"{FACTORS}/totp"
SIGN_IN = "/account/sign-in"
_CODE = re.compile(r"[a-z2-9]{4}(?:-[a-z2-9]{4}){3}")


@dataclass
class Generator:
    """A generator of codes and its recovery codes."""

    world: World
    secret: str
    recovery_codes: list[str]

    def code(self, later: int = 0) -> str:
        """What it shows now, or so many steps later."""
        return totp_code(self.secret, step_at(self.world.clock.now()) + later)

    def next(self) -> str:
        """What it shows after a while, which nobody has used."""
        self.world.clock.advance(30)
        return self.code()


async def sign_in(world: World, person: Person, browser: Browser, to: str = "account") -> Page:
    """What follows the password at the account pages."""
    page = await browser.open(f"{SIGN_IN}?realm={person.realm}&to={to}")
    return await browser.press(page, SIGN_IN, **person.typed)


async def enrol(world: World, person: Person, browser: Browser | None = None) -> Generator:
    """A generator, enrolled in a browser; the time is a step later, so that its code is fresh."""
    generator = await enrolled(world, person, browser or world.browser())
    world.clock.advance(30)
    return generator


async def enrolled(world: World, person: Person, browser: Browser) -> Generator:
    """A generator that was enrolled a moment ago in a browser."""
    page = await sign_in(world, person, browser, "factors")
    assert page.status == 200, page.text
    page = await browser.open(f"{TOTP}?realm={person.realm}")
    found = re.search(r'<code class="figures">([A-Z2-7 ]+)</code>', page.text)
    assert found is not None, page.text
    generator = Generator(world, found[1].replace(" ", ""), [])
    page = await browser.press(page, TOTP, code=generator.code())
    assert page.status == 200, page.text
    generator.recovery_codes = _CODE.findall(page.text)
    return generator
