"""Login names as people type them, and web origins as browsers send them."""

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from domain.rules import origin, people


@pytest.mark.parametrize(
    ("one", "other"), [("Ada", "ada"), ("ﬁona", "FIONA"), ("Ａda", "ada"), ("STRASSE", "straße"), ("e\u0301", "é")]
)
def test_names_are_one_whatever_their_case_or_width(one, other) -> None:
    assert people.canonical(one) == people.canonical(other)


@for_all(st.text(max_size=20))
def test_the_canonical_form_is_its_own_canonical_form(text) -> None:
    assert people.canonical(people.canonical(text)) == people.canonical(text)


@for_all(st.text(max_size=80))
def test_no_text_is_a_username_and_an_e_mail_address_at_once(text) -> None:
    assert people.username_problem(text) is not None or people.email_problem(text) is not None


@for_all(st.text(max_size=80))
def test_accepted_names_survive_stripping_of_blanks(text) -> None:
    if people.username_problem(text) is None:
        assert people.canonical(text) == people.canonical(text).strip()


@pytest.mark.parametrize(
    "control", ["\u202a", "\u202b", "\u202c", "\u202d", "\u202e", *map(chr, range(0x2066, 0x206A))]
)
def test_no_name_holds_a_bidirectional_control(control) -> None:
    for text in (f"Shop {control}gro.elpmaxe", f"{control}Shop"):
        assert people.text_problem(text, 100) == "must not contain bidirectional controls"
    # What scripts that run from right to left need is no control of others.
    assert people.text_problem("חנות \u200f(1)", 100) is None


@pytest.mark.parametrize("username", ["ada", "Ada.Lovelace", "zoë", "李雷", "a-b_c+d"])
def test_usernames(username) -> None:
    assert people.username_problem(username) is None


@pytest.mark.parametrize(
    "email", ["ada@example.test", "a.b+c@sub.example.test", "postmaster@localhost", "jörg@müller.de"]
)
def test_e_mail_addresses(email) -> None:
    assert people.email_problem(email) is None


@pytest.mark.parametrize(
    "email",
    [
        "thief@elsewhere.test(example.test",
        "thief@elsewhere.test<example.test",
        "thief@elsewhere.test,.example.test",
        "ada＜thief@elsewhere.test",
        "ada,thief@elsewhere.test",
        "ada;thief@elsewhere.test",
        "ada:thief@elsewhere.test",
        "(ada)@example.test",
        '"ada"@example.test',
        "ada\\@example.test",
        "=?utf-8?q?thief=40elsewhere.test=2C?=@example.test",
        "ada@[192.0.2.1]",
    ],
)
def test_no_address_has_mail_go_to_another_one(email) -> None:
    assert people.email_problem(email) == "must be an e-mail address"


@pytest.mark.parametrize(
    ("value", "issuer", "named"),
    [
        ("http://localhost:3000", "http://127.0.0.1:8400", "http://127.0.0.1:3000"),
        ("http://127.0.0.1:3000", "http://localhost:8400", "http://localhost:3000"),
        ("http://127.0.0.1", "http://[::1]:8400", "http://[::1]"),
        ("http://localhost:3000", "http://localhost:8400", None),
        ("https://evil.example", "http://127.0.0.1:8400", None),
        ("http://localhost:3000", "https://login.example.com", None),
        ("null", "http://127.0.0.1:8400", None),
        ("http://localhost:x", "http://127.0.0.1:8400", None),
    ],
)
def test_a_page_of_this_machine_is_told_by_which_name_to_open_it(value, issuer, named) -> None:
    assert origin.by_issuers_name(value, issuer) == named


@pytest.mark.parametrize(
    "value",
    [
        "https://a.example",
        "https://a.example:8443",
        "http://127.0.0.1:8400",
        "http://localhost",
        "http://[::1]:8400",
    ],
)
def test_origins(value) -> None:
    assert origin.problem(value) is None


@pytest.mark.parametrize(
    "value",
    ["", "null", "*", "a.example", "https://A.example", "https://a.example/", "https://a.example:443", "http://a.example",
     "http://localhost:80", "https://a.example:65536", "https://u@a.example", "ftp://a.example", "https://a.example?x"],
)  # fmt: skip
def test_what_is_no_origin(value) -> None:
    assert origin.problem(value) is not None


@pytest.mark.parametrize(
    ("value", "issuer", "same"),
    [
        ("https://board.example.test", "https://id.example.test", True),
        ("https://example.test", "https://id.example.test", True),
        ("https://id.example.test:8443", "https://id.example.test", True),
        ("https://a.id.example.test", "https://id.example.test", True),
        ("http://board.example.test", "https://id.example.test", False),
        ("https://board.elsewhere.test", "https://id.example.test", False),
        ("https://evilexample.test", "https://id.example.test", False),
        ("https://board.other.co.uk", "https://id.example.co.uk", False),
        ("https://board.example.co.uk", "https://id.example.co.uk", True),
        ("http://127.0.0.1:3000", "http://127.0.0.1:8400", True),
        ("http://localhost:3000", "http://127.0.0.1:8400", False),
        ("http://1.2.0.1", "http://127.0.0.1", False),
        ("http://app.localhost", "http://localhost", False),
    ],
)
def test_same_site(value, issuer, same) -> None:
    assert origin.same_site(value, issuer) is same
