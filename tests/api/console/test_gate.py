"""A refusal of the API on its way through the console stays what it was."""

import pytest

from api.console.gate import _told
from api.console.own_api import Problem, Refused
from api.http.errors import HTTPError


@pytest.mark.parametrize("status", [400, 403, 404, 405, 408, 409, 413, 414, 415, 422, 429, 500, 503])
def test_refusal_keeps_its_status(status: int) -> None:
    told = _told(Refused(status, Problem(detail="So it is."), {"retry-after": "7"}))
    assert isinstance(told, HTTPError)
    assert (told.status, str(told.detail)) == (status, "So it is.")
    assert told.headers.get("retry-after") == ("7" if status in (429, 503) else None)


@pytest.mark.parametrize(("status", "field"), [(405, "allow"), (415, "accept")])
def test_refusal_says_what_there_is_instead(status: int, field: str) -> None:
    """RFC 9110 §15.5.6, §15.5.16."""
    told = _told(Refused(status, Problem(), {field: "this, that"}))
    assert isinstance(told, HTTPError)
    assert (told.status, told.headers[field]) == (status, "this, that")


@pytest.mark.parametrize(("unnamed", "status"), [(418, 400), (502, 500)])
def test_other_refusals_are_the_callers_or_the_servers(unnamed: int, status: int) -> None:
    told = _told(Refused(unnamed, Problem(), {}))
    assert isinstance(told, HTTPError)
    assert told.status == status
