"""What stays masked until somebody asks to see it: names and addresses of people, and their ids but for the ends.

The API is asked to leave personal values sealed, so that a page has nothing in clear that nobody wanted to see; anyone
who has no name then is called by a pseudonym that stays the same. Addresses of pages have whole ids, and never a name.
"""

import re
from collections.abc import Iterable
from typing import Annotated, Literal
from urllib.parse import urlencode

from litestar.params import QueryParameter

PERSONAL = "audit:personal"
ENDS = 4

Show = Annotated[
    Literal["", "0", "1"], QueryParameter(name="show", description="`1`: personal values in clear, which is an event.")
]


def sealed(show: str = "") -> dict[str, str]:
    """The parameter of a question by which personal values stay sealed, unless they are to be shown."""
    return {} if show == "1" else {"personal": "0"}


def pseudonym(account_id: str) -> str:
    """What a person is called who has no name here: the ends of their id."""
    return f"person {shortened(account_id)}"


def shortened(account_id: str) -> str:
    """The ends of an id."""
    return f"{account_id[:ENDS]}…{account_id[-ENDS:]}" if len(account_id) > 3 * ENDS else account_id


def without_ids(text: str, account_ids: Iterable[str]) -> str:
    """The text, with of those ids only the ends."""
    found = [re.escape(each) for each in account_ids if len(each) > 3 * ENDS]
    return re.sub("|".join(found), lambda match: shortened(match[0]), text) if found else text


def switched(path: str, pairs: Iterable[tuple[str, str]], *, shown: bool) -> str:
    """The address of the same page with personal values shown, or masked again."""
    kept = [(name, value) for name, value in pairs if name != "show"]
    query = urlencode(kept if shown else [*kept, ("show", "1")])
    return path + (f"?{query}" if query else "")
