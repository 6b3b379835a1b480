"""The pages of somebody who is signed in: one struct per page with exactly what its template needs."""

from typing import ClassVar

import msgspec

from api.http.templates import HtmlPage, ScopeInWords
from domain.event import Moment


class SignOutPage(HtmlPage, frozen=True, kw_only=True):
    """The question before a sign-out that was asked for by a link: a link alone must not end a session."""

    template: ClassVar[str] = "signing_in/sign_out.html"
    action: str
    csrf: str
    username: str
    realm: str


class AccountPage(HtmlPage, frozen=True, kw_only=True):
    """A page of somebody who is signed in: it says who that is, leads to their other pages, and signs them out.
    `notice` tells what their last click did, `mails` whether they are written to."""

    username: str
    realm: str
    sign_out_action: str
    csrf: str
    mails: bool
    notice: str | None = None


class ShownPlace(msgspec.Struct, frozen=True):
    """Where somebody is signed in; `name` is the dashboard's, None for a browser at this server. `current` is the
    browser that looks at the page."""

    name: str | None
    address: str | None
    user_agent: str | None
    since: Moment
    last_used: Moment
    current: bool
    end_action: str


class SignedInPage(AccountPage, frozen=True, kw_only=True):
    """Who somebody is here, and their newest sign-ins. `logins` are the names that they sign in with."""

    template: ClassVar[str] = "account/signed_in.html"
    name: str | None
    logins: tuple[str, ...]
    since: Moment
    places: tuple[ShownPlace, ...]


class PlacesPage(AccountPage, frozen=True, kw_only=True):
    """Where somebody is signed in, and the ends of it; `more_url` leads to what does not stand on this page."""

    template: ClassVar[str] = "account/places.html"
    places: tuple[ShownPlace, ...]
    more_url: str | None = None
    end_others_action: str


class ShownLink(msgspec.Struct, frozen=True):
    """Another provider at which somebody signs in."""

    title: str
    since: Moment
    end_action: str


class OwnPasswordPage(AccountPage, frozen=True, kw_only=True):
    """The form for another password, and where one signs in without. `minimum` counts characters."""

    template: ClassVar[str] = "account/own_password.html"
    action: str
    minimum: int
    links: tuple[ShownLink, ...]
    error: str | None = None


class AllowedApplication(msgspec.Struct, frozen=True):
    """An application that may act for the person, since when, and when it last did. `claims` are what it may know of
    them besides what its scopes open (OpenID Connect Core §5.5)."""

    application: str
    scopes: tuple[ScopeInWords, ...]
    claims: tuple[str, ...]
    since: Moment
    last_used: Moment | None
    withdraw_action: str


class AccountGrantsPage(AccountPage, frozen=True, kw_only=True):
    """What a person has allowed; `more_url` leads to what does not stand on this page."""

    template: ClassVar[str] = "account/grants.html"
    grants: tuple[AllowedApplication, ...]
    more_url: str | None = None


class Happening(msgspec.Struct, frozen=True):
    """Something that happened. `application` is whose doing or access it was."""

    words: str
    at: Moment
    application: str | None
    address: str | None
    user_agent: str | None


class HistoryPage(AccountPage, frozen=True, kw_only=True):
    """What happened with somebody's account, the newest first; `older_url` leads to what was before."""

    template: ClassVar[str] = "account/history.html"
    happenings: tuple[Happening, ...]
    older_url: str | None


class DataPage(AccountPage, frozen=True, kw_only=True):
    """All that is stored about somebody: given to them, or erased. `erasure_due` is None while they did not ask for
    it; `waiting_days` is for how long they may think it over."""

    template: ClassVar[str] = "account/data.html"
    export_action: str
    erase_action: str
    keep_action: str
    erasure_due: Moment | None
    waiting_days: int
