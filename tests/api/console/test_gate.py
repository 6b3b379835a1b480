"""A refusal of the API on its way through the console stays what it was."""

import pytest

from api.console.gate import _told
from api.console.own_api import Problem, Refused
from api.http.errors import HTTPError


@pytest.mark.parametrize("status", [400, 403, 404, 409, 413, 414, 422, 429, 500, 503])
def test_refusal_keeps_its_status(status: int) -> None:
    told = _told(Refused(status, Problem(detail="So it is."), {"retry-after": "7"}))
    assert isinstance(told, HTTPError)
    assert (told.status, str(told.detail)) == (status, "So it is.")
    assert told.headers.get("retry-after") == ("7" if status in (429, 503) else None)


@pytest.mark.parametrize(("unnamed", "status"), [(418, 400), (502, 500)])
def test_other_refusals_are_the_callers_or_the_servers(unnamed: int, status: int) -> None:
    told = _told(Refused(unnamed, Problem(), {}))
    assert isinstance(told, HTTPError)
    assert told.status == status
