"""What keeps somebody from reading a page: all rules of axe-core and some of our own, by light and in the dark."""

from typing import Any

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, ViewportSize

DESK: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 320, "height": 568}
"""The narrowest that WCAG 2.2 §1.4.10 asks for."""

LEAST_CONTRAST = 4.5
"""WCAG 2.2 §1.4.3."""

FAULTS = """least => {
    const faults = [], all = selector => [...document.querySelectorAll(selector)];
    const told = element => element.outerHTML.slice(0, 90);
    if (document.documentElement.lang !== "en") faults.push("no language");
    if (!document.title) faults.push("no title");
    if (all("h1").length !== 1 || all("main").length !== 1) faults.push("not one heading and one main part");
    for (const input of all("input:not([type=hidden], [hidden])"))
        if (![...input.labels].some(label => label.textContent.trim()) && !input.ariaLabel)
            faults.push("no label: " + told(input));
    for (const image of all("img")) if (!image.hasAttribute("alt")) faults.push("no alt: " + told(image));
    for (const named of all("a, button, summary"))
        if (!named.textContent.trim()) faults.push("no name: " + told(named));
    for (const name of ["aria-labelledby", "aria-describedby"])
        for (const element of all(`[${name}]`))
            if (element.getAttribute(name).split(" ").some(id => !document.getElementById(id)))
                faults.push("leads nowhere: " + told(element));
    const ids = all("[id]").map(element => element.id);
    if (new Set(ids).size !== ids.length) faults.push("an id twice");
    if (document.documentElement.scrollWidth > innerWidth)
        faults.push("wider than the screen by " + (document.documentElement.scrollWidth - innerWidth));
    for (const pressed of all("button"))
        if (pressed.checkVisibility() && pressed.getBoundingClientRect().right > innerWidth)
            faults.push("beyond the screen: " + told(pressed));

    const parts = colour => colour.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
        .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = element => {
        for (let at = element; at; at = at.parentElement) {
            const colour = parts(getComputedStyle(at).backgroundColor);
            if (colour.length === 3 || colour[3] === 1) return colour;
        }
        return [255, 255, 255];
    };
    for (const element of all("body *")) {
        const speaks = [...element.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim());
        if (!speaks || !element.checkVisibility()) continue;
        const [one, other] = [light(parts(getComputedStyle(element).color)), light(ground(element))];
        const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
        if (contrast < least) faults.push(`contrast ${contrast.toFixed(1)}: ` + told(element));
    }
    return faults;
}"""


SWIFT = """(() => {
    // Each colour has seven members in weak maps, which cost more than all rules: here a member is a member.
    class Kept {
        #key = Symbol();
        has(object) { return Object.hasOwn(object, this.#key); }
        get(object) { return this.has(object) ? object[this.#key] : undefined; }
        set(object, value) { object[this.#key] = value; return this; }
        add(object) { return this.set(object, true); }
        delete(object) { return delete object[this.#key]; }
    }
    const WeakMap = Kept, WeakSet = Kept;
    %s;
    // A page has few colours, and thousands of words in them.
    const colour = axe.commons.color.Color.prototype, parse = colour.parseString, parsed = new Map();
    colour.parseString = function (text) {
        const known = parsed.get(text);
        if (known) [this.r, this.g, this.b, this.alpha] = known;
        else parsed.set(text, (parse.call(this, text), [this.r, this.g, this.b, this.alpha]));
        return this;
    };
})()"""
AXE = SWIFT % Axe().axe_script
"""What axe finds, in a quarter of the time where there are many words: found alike on the schema, defects put in."""
RUN = """options => axe.run(options).then(found =>
    found.violations.map(each => each.id + ": " + each.nodes[0].html.slice(0, 120)))"""
# It would load style sheets itself, which the policy forbids it and tells of.
EVERY_RULE: dict[str, Any] = {"preload": False, "resultTypes": ["violations"]}
COLOURS: dict[str, Any] = EVERY_RULE | {"runOnly": ["color-contrast"]}


async def barriers(page: Page, *sizes: ViewportSize) -> list[str]:
    """All that is wrong with the page at these sizes, or at the one that it has, by light and in the dark.

    The page is the same in the dark, and so is all that a scheme of colours says nothing about.
    """
    found = []
    if not await page.evaluate("typeof axe === 'object'"):
        await page.evaluate(AXE)
    for size in sizes or (page.viewport_size or DESK,):
        await page.set_viewport_size(size)
        for scheme, options in (("dark", COLOURS), ("light", EVERY_RULE)):
            await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            faults = [*await page.evaluate(FAULTS, LEAST_CONTRAST), *await page.evaluate(RUN, options)]
            found += [f"{scheme}, {size['width']} wide: {each}" for each in faults]
    return found
