"""Secrets are found in any text, whatever surrounds or encodes them, and nothing else is."""

import json
from base64 import b64encode, encodebytes, urlsafe_b64encode
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from security import tokens
from security.scanning import MOST, DamagedSecret, ForeignSecret, extract, extract_all, foreign
from security.tokens import ALPHABET, DEFAULT, Format, Kind

SECRET = tokens.mint(Kind.CLIENT_SECRET).reveal()
OTHER = tokens.mint(Kind.ACCESS_TOKEN).reveal()

Encoding = Callable[[str], str]


def _percent(text: str) -> str:
    return "".join(f"%{octet:02X}" for octet in text.encode())


def _escapes(text: str) -> str:
    return "".join(f"\\u{ord(character):04x}" if ord(character) < 0x10000 else "" for character in text)


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()


def _base64url(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _mime(text: str) -> str:
    return encodebytes(text.encode() * 3).decode()


def _json(text: str) -> str:
    return json.dumps({"found": text})


def _url(text: str) -> str:
    return "https://app.example/cb?x=" + quote(text, safe="")


def _diff(text: str) -> str:
    """As a diff shows a text that was wrapped within the secret, wherever it stands."""
    return "+ " + text[:7] + "\n+   " + text[7:20] + "\r\n-\t" + text[20:]


def _quoted(text: str) -> str:
    return "> > " + text[: len(text) // 2] + "\n> > " + text[len(text) // 2 :]


def _continued(text: str) -> str:
    return "curl -u x:" + text[:30] + "\\\n    | " + text[30:]


def _hex(text: str) -> str:
    """As a database shows octets; what comes before says nothing of where they begin."""
    return "\\x" + text.encode().hex()


def _powershell(text: str) -> str:
    return b64encode(text.encode("utf-16-le")).decode()


def _references(text: str) -> str:
    return "".join(f"&#{ord(each)};" if number % 2 else f"&#x{ord(each):X};" for number, each in enumerate(text))


def _wide(text: str) -> str:
    return "".join(chr(ord(each) + 0xFEE0) if "!" <= each <= "~" else each for each in text)


def _invisible(text: str) -> str:
    return "\u200b".join(text[start : start + 5] for start in range(0, len(text), 5)) + "\ufeff"


ENCODINGS: dict[str, Encoding] = {
    "json": _json,
    "every character escaped": _escapes,
    "query": _url,
    "every octet percent-encoded": _percent,
    "base64": _base64,
    "base64url": _base64url,
    "mime": _mime,
    "diff": _diff,
    "quoted mail": _quoted,
    "shell": _continued,
}


def found(text: str, format_: Format = DEFAULT) -> list[str]:
    return [secret.reveal() for secret in extract(text, format_).secrets]


def _coloured(text: str) -> str:
    """As `grep --color` shows what it found, and some terminals every word."""
    head, kind, rest = text.partition("_")[0], text[: text.rindex("_") + 1], text[text.rindex("_") + 1 :]
    return f"\x1b[01;31m\x1b[K{head}\x1b[m\x1b[K{kind[len(head) :]}\x1b[38:2::9:9:9m{rest}\x1b[0m"


def _of_two_octets(text: str) -> str:
    """As UTF-16 is shown by who takes it for something else."""
    return "\0".join(text)


SPELLINGS: dict[str, Encoding] = {
    "references": _references,
    "wide letters": _wide,
    "invisible": _invisible,
    "two octets": _of_two_octets,
}
"""What is undone before everything else."""


# The secret is ever another one, and is no part of a test's name.
@pytest.mark.parametrize(
    "around",
    [
        "{}",
        " {}",
        "{}\n",
        'client_secret="{}",',
        "x{}",
        "{}abc",
        "{}_",
        "ключ：{}。",
        "\x00{}\x00",
        "glog_cs_{}",
        "glog_at_" + ALPHABET[:32] + "{}",
    ],
)
def test_a_secret_is_found_whatever_stands_beside_it(around: str) -> None:
    text = around.format(SECRET)
    assert found(text) == [SECRET]


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
def test_a_secret_is_found_in_each_encoding_at_each_alignment(name: str, before: str) -> None:
    assert SECRET in found("words before " + ENCODINGS[name](before + SECRET) + " and behind")


def _markdown(text: str) -> str:
    return text.replace("_", "\\_")


@pytest.mark.parametrize(
    "encode",
    [
        *(_hex, lambda text: _hex(text).upper(), lambda text: "f" + _hex(text)[2:]),
        *(_powershell, _coloured, _markdown, lambda text: _json(_markdown(text))),
        *SPELLINGS.values(),
    ],
)
@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
def test_a_secret_is_found_as_tools_write_it(encode: Encoding, before: str) -> None:
    assert SECRET in found(f"words before {encode(before + SECRET)} and behind")


@pytest.mark.parametrize("outer", SPELLINGS)
@pytest.mark.parametrize("inner", ENCODINGS)
def test_what_is_encoded_is_found_however_it_is_spelled(outer: str, inner: str) -> None:
    assert SECRET in found(SPELLINGS[outer](ENCODINGS[inner](SECRET)))


@pytest.mark.parametrize("reference", ["&lowbar;", "&#95;", "&#095;", "&#x5f;", "&#X005F;", "&#0000095;"])
def test_a_reference_of_html_is_the_character(reference: str) -> None:
    assert found(f"<td>{SECRET.replace('_', reference)}</td>") == [SECRET]


@pytest.mark.parametrize("reference", ["&#950;", "&#9;", "&#x5f0;", "&lowbar", "&#;", "&#x;", "&amp;"])
def test_another_reference_is_no_part_of_a_secret(reference: str) -> None:
    assert found(SECRET.replace("_", reference)) == []


@pytest.mark.parametrize(("outer", "inner"), [(outer, inner) for outer in ENCODINGS for inner in ENCODINGS])
def test_two_encodings_around_each_other_are_undone(outer: str, inner: str) -> None:
    assert SECRET in found(ENCODINGS[outer](ENCODINGS[inner](SECRET)))


def test_a_basic_header_is_read_as_clients_write_it() -> None:
    """RFC 6749 §2.3.1: id and secret are form-encoded, then put together, then base64."""
    header = "Authorization: Basic " + _base64(f"{quote('a client:1', safe='')}:{SECRET}")
    assert found(f"> POST /oauth/token HTTP/1.1\r\n> {header}\r\n> Accept: */*\r\n") == [SECRET]


def test_a_basic_header_is_read_within_a_kubernetes_secret() -> None:
    header = "Basic " + _base64(f"a-client:{SECRET}")
    assert found(f"kind: Secret\ndata:\n  authorization: {_base64(header)}\n  other: {_base64('x' * 90)}\n") == [SECRET]


def test_a_third_base64_is_not_undone() -> None:
    assert found(_base64(_base64(_base64(SECRET)))) == []


@given(
    st.sampled_from(list(ENCODINGS)),
    st.sampled_from(list(Kind)),
    st.text(st.characters(codec="utf-8"), max_size=40),
    st.text(st.characters(codec="utf-8"), max_size=40),
)
def test_any_text_may_be_around(name: str, kind: Kind, before: str, behind: str) -> None:
    secret = tokens.mint(kind).reveal()
    # What stands directly before base64 or an escape must not be taken for a part of it.
    assert secret in found(f"{before} \n\n{ENCODINGS[name](secret)}\n\n {behind}")


@given(st.text())
def test_any_text_is_looked_through(text: str) -> None:
    assert found(text) == []
    assert extract(text, DEFAULT).characters == len(text)


@given(st.binary(max_size=300))
def test_any_octets_are_looked_through(octets: bytes) -> None:
    assert found(octets.decode("utf-8", "surrogateescape")) == []


def test_each_is_told_once_and_in_order() -> None:
    assert found(f"{OTHER} {SECRET} {_base64(OTHER)} {_percent(SECRET)}") == [OTHER, SECRET]


def test_a_wrong_checksum_is_damage_and_says_where() -> None:
    wrong = SECRET[:-1] + ("0" if SECRET[-1] != "0" else "1")
    looked_at = extract(f"é {wrong} {OTHER}", DEFAULT)
    assert looked_at.damaged == (DamagedSecret(Kind.CLIENT_SECRET, 2),)
    assert [each.reveal() for each in looked_at.secrets] == [OTHER]


@pytest.mark.parametrize("left", [8, 30, 35])
def test_what_was_cut_off_says_where_and_is_no_damage(left: int) -> None:
    """As in a log of narrow lines, or where somebody read a space into it."""
    cut = SECRET[: len("glog_cs_") + left]
    looked_at = extract(f"{OTHER} {cut}…\n{cut} rest", DEFAULT)
    at = len(OTHER) + 1
    assert looked_at.cut == tuple(DamagedSecret(Kind.CLIENT_SECRET, each) for each in (at, at + len(cut) + 2))
    assert looked_at.damaged == ()
    assert [each.reveal() for each in looked_at.secrets] == [OTHER]


def test_the_beginning_of_one_that_is_whole_was_not_cut_off() -> None:
    looked_at = extract(_diff(SECRET) + "\n" + SECRET[:30], DEFAULT)
    assert ([each.reveal() for each in looked_at.secrets], looked_at.cut) == ([SECRET], ())


def test_what_is_no_secret_is_nothing() -> None:
    looked_at = extract("glog_cs_short glog_xx_" + "a" * 36 + " other_cs_" + SECRET[8:], DEFAULT)
    assert (looked_at.secrets, looked_at.damaged) == ((), ())


def test_more_damage_than_is_told_hides_no_secret() -> None:
    text = ("glog_at_" + "a" * 36 + " ") * (MOST + 500) + SECRET
    looked_at = extract(text, DEFAULT)
    assert len(looked_at.damaged) == MOST
    assert [each.reveal() for each in looked_at.secrets] == [SECRET]


def test_extraction_stops_one_beyond_the_most_of_a_report() -> None:
    text = " ".join(tokens.mint(Kind.ACCESS_TOKEN).reveal() for _ in range(MOST + 500))
    assert found(text) == text.split()[: MOST + 1]


def test_former_prefixes_are_found_and_read() -> None:
    former = Format("old").mint(Kind.REFRESH_TOKEN)
    format_ = Format("new", ["old", "new"])
    assert format_.prefixes == ("new", "old")
    assert found(f"{former.reveal()} {SECRET}", format_) == [former.reveal()]
    assert format_.parse(former.reveal()) is Kind.REFRESH_TOKEN
    assert Format("new").parse(former.reveal()) is None


def test_several_texts_are_one_report() -> None:
    wrong = "glog_at_" + "a" * 36
    looked_at = extract_all(["abc", f"{SECRET} {wrong}", SECRET], DEFAULT)
    assert [each.reveal() for each in looked_at.secrets] == [SECRET]
    assert looked_at.damaged == (DamagedSecret(Kind.ACCESS_TOKEN, 3 + len(SECRET) + 1),)
    assert looked_at.characters == 3 + len(SECRET) * 2 + 1 + len(wrong)


def test_what_others_handed_out_is_told_by_its_form_and_checksum() -> None:
    body = SECRET[-36:]
    signed = ".".join(map(_base64url, ('{"alg":"RS256"}', '{"sub":"1"}')))
    theirs = {
        f"ghp_{body}": "github_token",
        f"acme_cs_{body}": "checked_token",
        f"AKIA{'Q' * 16}": "aws_access_key",
        f"{signed}.{'x' * 43}": "jwt",
        "-----BEGIN RSA PRIVATE KEY-----": "private_key",
        f"glpat-{'a' * 20}": "gitlab_token",
    }
    mistyped = f"ghp_{body[:-1]}{'0' if body[-1] != '0' else '1'}"
    text = "\n".join([SECRET, mistyped, *theirs])
    assert foreign(text, Format()) == tuple(ForeignSecret(kind, text.index(each)) for each, kind in theirs.items())
    assert foreign(text.replace(SECRET, f"old_{SECRET[5:]}"), Format("glog", ("old",)))[0].kind == "github_token"
    assert foreign("eyJ" * 100_000 + "_" * 100_000, Format()) == ()
    assert len(foreign(f"AKIA{'Q' * 16} " * (MOST + 1), Format())) == MOST
