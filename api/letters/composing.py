"""A letter as a mail program shows it: plain text, and the same as HTML that loads nothing from anywhere."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import ClassVar, NamedTuple
from urllib.parse import urlsplit

from msgspec.structs import replace

from api.http.templates import HtmlPage, PageBranding, render
from api.languages import Language, Words
from api.letters.words import GREETING, GREETING_BY_NAME, STILL, TEXTS
from domain.event import Moment
from domain.people.branding import PLAIN, BrandingTerms
from eventstore.pending.letters import LetterKind
from security.clock import SECOND


class Envelope(NamedTuple):
    """From whom, to whom, and by which id mail programs tell repeats."""

    issuer: str
    sender: str
    recipient: str
    letter_id: str


class LetterPage(HtmlPage, frozen=True, kw_only=True):
    """A letter as HTML. `link` leads to this server."""

    template: ClassVar[str] = "letter.html"
    subject: str
    greeting: str
    paragraphs: tuple[str, ...]
    link: str | None
    button: str | None
    closing: tuple[str, ...]
    why: str
    accent_color: str | None = None


def compose(
    kind: LetterKind,
    spoken: Language,
    envelope: Envelope,
    now: Moment,
    *,
    name: str | None,
    link: str | None,
    told: Mapping[str, str],
    look: BrandingTerms = PLAIN,
) -> EmailMessage:
    """The letter. `told` is what its text speaks of; `link` is a URL of this server, and `look` that of the realm."""
    page = _page(kind, spoken, name, link, {**told, **_here(envelope.issuer)})
    branding = PageBranding(name=look.name, support_url=look.support_url)
    page = replace(page, branding=branding, accent_color=look.accent_color)
    mail = EmailMessage()
    mail["From"] = envelope.sender
    mail["To"] = envelope.recipient
    mail["Subject"] = page.subject
    mail["Date"] = format_datetime(datetime.fromtimestamp(now // SECOND, UTC))
    mail["Message-ID"] = f"<{envelope.letter_id}@{envelope.sender.rpartition('@')[2]}>"
    mail["List-Id"] = f"<account.{urlsplit(envelope.issuer).hostname or 'localhost'}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(_text(page))
    mail.add_alternative(render(page, spoken).decode(), subtype="html")
    mail["Content-Language"] = spoken.code
    return mail


def _here(issuer: str) -> dict[str, str]:
    return {"issuer": issuer, "host": urlsplit(issuer).netloc}


def _page(
    kind: LetterKind, spoken: Language, name: str | None, link: str | None, given: Mapping[str, str]
) -> LetterPage:
    def said(text: Words) -> str:
        return spoken.gettext(text.template) % given

    letter = TEXTS[kind]
    # A changed password leaves other ways to sign in as they are.
    still = (said(STILL),) if kind == "password_changed" and given.get("providers") else ()
    return LetterPage(
        subject=said(letter.subject),
        greeting=spoken.say(GREETING if name is None else Words(GREETING_BY_NAME.template, name=name)),
        paragraphs=(*map(said, letter.paragraphs), *still),
        link=None if letter.button is None else link,
        button=None if letter.button is None else said(letter.button),
        closing=tuple(map(said, letter.closing)),
        why=said(letter.why),
    )


def _text(page: LetterPage) -> str:
    head = () if page.branding is None or page.branding.name is None else (page.branding.name,)
    parts = [*head, page.greeting, *page.paragraphs]
    if page.link is not None:
        parts.append(f"{page.button}:\n{page.link}")
    why = page.why
    if page.branding is not None and page.branding.support_url is not None:
        why += f"\n{page.branding.support_url}"
    return "\n\n".join([*parts, *page.closing, f"-- \n{why}"]) + "\n"
