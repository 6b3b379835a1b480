"""A browser without JavaScript: keeps cookies, reads forms, posts them, and holds redirects to the page's policy."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import parse_qsl, urljoin, urlsplit

import httpx

TAGS = re.compile(r"""<(?:form|input|button)\b(?:[^>"']|"[^"]*"|'[^']*')*>""", re.IGNORECASE)
"""What forms are made of. All that stands around it takes far longer to read."""


@dataclass
class Form:
    """A form of a page: where it posts and what stands in its fields; `buttons` are the named ones' values."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: list[tuple[str, str]] = field(default_factory=list)


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[Form] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            assert given["method"] in ("post", "get")
            self.found.append(Form(given["action"]))
        elif tag == "input" and self.found and (given.get("type") != "checkbox" or "checked" in given):
            self.found[-1].fields[given["name"]] = given.get("value", "")
        elif tag == "button" and "name" in given:
            self.found[-1].buttons.append((given["name"], given["value"]))


class Page:
    """What the browser shows: the last answer that was no redirect of this server's own."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.status = answer.status_code
        self.text = answer.text
        parser = _Forms()
        parser.feed("".join(TAGS.findall(answer.text)))
        self.forms = parser.found

    def form(self, path: str) -> Form:
        """The form that posts to this path. That of a passkey is hidden without JavaScript, and that of other providers
        asks for nothing."""
        (found,) = [form for form in self.forms if urlsplit(form.action).path == path and not self._beside(form)]
        return found

    @staticmethod
    def _beside(form: Form) -> bool:
        return "passkey" in form.fields or "upstream" in dict(form.buttons)

    @property
    def location(self) -> str:
        """Where the browser was sent: beyond this server, since redirects within it were followed."""
        assert self.status == 303, self.text
        return self.answer.headers["location"]

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters in `location`, each of which stands there once."""
        pairs = parse_qsl(urlsplit(self.location).query, keep_blank_values=True, strict_parsing=True)
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)


class Browser:
    """One person's browser."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.origin = str(client.base_url).rstrip("/")

    @property
    def cookies(self) -> dict[str, str]:
        return dict(self.client.cookies)

    async def open(self, address: str) -> Page:
        """Loads an address and follows redirects within the server."""
        return await self._follow(await self.client.get(address), None)

    async def submit(self, form: Form, button: tuple[str, str] | None = None, **typed: str) -> Page:
        """Posts a form as this browser would from the page that it stands on."""
        data = {**form.fields, **typed, **dict([button] if button else [])}
        headers = {"origin": self.origin, "sec-fetch-site": "same-origin"}
        return await self._follow(await self.client.post(form.action, data=data, headers=headers), None)

    async def press(self, page: Page, path: str, button: tuple[str, str] | None = None, /, **typed: str) -> Page:
        """Posts a page's form, held to the page's `form-action` through every redirect (CSP Level 3 §6.4.1)."""
        form = page.form(path)
        data = {**form.fields, **typed, **dict([button] if button else [])}
        headers = {"origin": self.origin, "sec-fetch-site": "same-origin"}
        answer = await self.client.post(form.action, data=data, headers=headers)
        return await self._follow(answer, page.answer.headers["content-security-policy"])

    async def _follow(self, answer: httpx.Response, policy: str | None) -> Page:
        while answer.status_code == 303:
            target = urljoin(str(answer.url), answer.headers["location"])
            inside = target.startswith(self.origin + "/")
            assert policy is None or inside or admits(policy, target), f"{policy} blocks {target}"
            if not inside:
                break
            answer = await self.client.get(target)
        return Page(answer)


def admits(policy: str, target: str) -> bool:
    """Whether a policy's `form-action` lets a form lead to this address."""
    (sources,) = [part.split()[1:] for part in policy.split("; ") if part.startswith("form-action ")]
    parts = urlsplit(target)
    return f"{parts.scheme}://{parts.netloc}" in sources or f"{parts.scheme}:" in sources
