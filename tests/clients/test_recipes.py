"""Where docs/connecting.md shows a program in part, the tests run a program with exactly those lines."""

from pathlib import Path

import pytest

from tests.clients.recipes import lines_of, recipe

TESTS = Path(__file__).parents[1]
SHOWN = {
    "Authlib with a key": TESTS / "clients" / "test_authlib.py",
    "openid-client": TESTS / "openid_client" / "openid.mjs",
    "oauth4webapi": TESTS / "openid_client" / "oauth4webapi.mjs",
    "FAPI 2.0 with openid-client": TESTS / "openid_client" / "fapi.mjs",
    "go-oidc": TESTS / "go_clients" / "sign_in" / "main.go",
    "idpyoidc": TESTS / "clients" / "test_idpyoidc.py",
    "PyJWT": TESTS / "clients" / "test_pyjwt.py",
    "Nimbus": TESTS / "java_client" / "SignIn.java",
}


@pytest.mark.parametrize("heading", SHOWN)
def test_what_is_shown_is_what_is_run(heading: str) -> None:
    shown, run = recipe(heading).splitlines(), lines_of(SHOWN[heading])
    assert len(shown) >= 3
    assert [line for line in shown if line.strip() not in run] == []
