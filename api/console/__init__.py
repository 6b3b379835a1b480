"""The console: pages for auditors, security teams and administrators, over the same API that everybody has.

Nothing here knows the log, its tables or an endpoint's inside. A page asks the API in this process with the token of
the person who looks (`own_api`), so whatever they see or do is their own, with the scopes, events and refusals of any
other caller. `docs/console.md` tells how to write a page.
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from api.console import pages, sign_in
from api.console.navigation import announce, announce_things

ROUTES: list[Any] = [*sign_in.ROUTES]
"""The sign-in, and what each module of `pages` serves."""

for _found in sorted(iter_modules(pages.__path__), key=lambda each: each.name):
    _page = import_module(f"{pages.__name__}.{_found.name}")
    ROUTES += _page.ROUTES
    announce(*getattr(_page, "NAVIGATION", ()))
    announce_things(getattr(_page, "THINGS", {}))
