"""Secrets in what callers say and in what is logged: masked, however they got there."""

import json
from base64 import b64encode, urlsafe_b64encode
from itertools import product
from time import process_time
from urllib.parse import quote, quote_plus, unquote, unquote_plus

import pytest

from security.masking import ENCODED_AT_MOST, masking
from security.tokens import Format, Kind

PREFIXES = pytest.mark.parametrize("prefix", ["glog", "ab", "x7777777777777zz"])


@PREFIXES
@pytest.mark.parametrize("encode", [b64encode, urlsafe_b64encode])
def test_base64_of_a_secret_is_masked_at_every_offset(prefix, encode):
    for kind in Kind:
        secret = Format(prefix).mint(kind).reveal()
        for before in range(7):
            for behind in ("", "~", "?~", "?>?>"):
                text = encode(f"{'?' * before}{secret}{behind}".encode()).decode()
                for shown in (text, f"client/1.0 {text}", f"/a/{text}", text[: -(len(behind) + 24)]):
                    assert masking(prefix).text(shown).endswith("***"), (kind, before, shown)
                    assert text[:8] not in masking(prefix).text(shown)


def percent_encoded(text: str, times: int, characters: str = "") -> str:
    """The text with these characters, or all, percent-encoded, and the percent signs again and again."""
    for _ in range(times):
        text = "".join(f"%{ord(each):02x}" if each in (characters or text) else each for each in text)
        characters = "%"
    return text


@PREFIXES
@pytest.mark.parametrize("characters", ["_", "", "234567abcdefABCDEF", "xyzXYZ"])
def test_secret_percent_encoded_any_number_of_times_is_masked(prefix, characters):
    for _ in range(8):
        secret = Format(prefix).mint(Kind.CLIENT_SECRET).reveal()
        for times in range(ENCODED_AT_MOST + 1):
            text = percent_encoded(secret, times, characters)
            assert masking(prefix).text(f"/x%0A{text}/y%2F") == f"/x%0A{prefix}_cs_***/y%2F"


DEPTHS = list(product(range(ENCODED_AT_MOST + 1), repeat=2))


@PREFIXES
def test_secrets_are_masked_at_every_depth_at_once(prefix):
    first, second = (Format(prefix).mint(kind).reveal() for kind in (Kind.ACCESS_TOKEN, Kind.CLIENT_SECRET))
    for between, depths in product((" and ", "&next=https%3A%2F%2Fé%C3%a9%252F%20"), DEPTHS):
        text = between.join(map(percent_encoded, (first, second), depths, "__"))
        assert masking(prefix).text(text) == f"{prefix}_at_***{between}{prefix}_cs_***"


@PREFIXES
def test_adjacent_secrets_are_masked_without_remainder(prefix):
    secrets = [Format(prefix).mint(kind).reveal() for kind in (Kind.ACCESS_TOKEN, Kind.CLIENT_SECRET)]
    for depths in DEPTHS:
        shown = masking(prefix).text("".join(map(percent_encoded, secrets, depths, "__")))
        for _ in range(ENCODED_AT_MOST):
            assert not any(secret[-20:] in shown for secret in secrets)
            shown = unquote(shown)


def test_masking_time_is_linear_in_the_length_of_the_text():
    unit = percent_encoded(Format("glog").mint(Kind.ACCESS_TOKEN).reveal(), 4, "_") + "%25%zz%2525 "

    def seconds(times: int) -> float:
        began = process_time()
        masking("glog").text(unit * times)
        return process_time() - began

    short = min(seconds(100) for _ in range(5))
    assert min(seconds(1600) for _ in range(3)) < 16 * 4 * short


NUMBER = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
BODY = "MC4CAQAwBQYDK2VwBCIEI+J1hsZ3v/VpguoRK9JL"
KEYS = (
    f"-----BEGIN PRIVATE KEY-----\n{BODY}\n-----END PRIVATE KEY-----\n",
    f"-----BEGIN EC PRIVATE KEY-----\n{BODY}\n-----END EC PRIVATE KEY-----\n",
    json.dumps({"kty": "OKP", "crv": "Ed25519", "d": NUMBER}),
    json.dumps({"d": NUMBER, "kty": "OKP"}, indent=1),
)


@pytest.mark.parametrize("written", [str, json.dumps, lambda text: json.dumps(json.dumps(text)), quote, quote_plus])
def test_private_keys_are_masked_however_they_are_written(written):
    for key in KEYS:
        shown = masking("glog").text(f"form key={written(key)}&next=1")
        assert shown.endswith("&next=1")
        assert shown.startswith("form key=")
        assert "***" in shown
        assert not any(part in unquote_plus(shown) for part in (NUMBER, BODY)), shown


def test_a_secret_is_masked_where_it_stands():
    secret = Format("glog").mint(Kind.ACCESS_TOKEN).reveal()
    assert masking("glog").text(f"curl/8 {secret} x") == "curl/8 glog_at_*** x"


@pytest.mark.parametrize(
    "text",
    [
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
        "python-httpx/0.28.1",
        "glog_cli/2",
        b64encode(b"anything else at all").decode(),
        b64encode(b"glog_at_work and more").decode(),
        "ab" * 40,
        "100%",
        "/a%20b%zz%",
        "",
    ],
)
def test_other_texts_stay_as_they_are(text):
    assert masking("glog").text(text) == text


def test_secrets_of_a_former_prefix_are_masked_too() -> None:
    former, present = Format("old").mint(Kind.CLIENT_SECRET).reveal(), Format("new").mint(Kind.ACCESS_TOKEN).reveal()
    assert masking("new", "old").text(f"{former} {present}") == "old_cs_*** new_at_***"
    assert masking("new", "old").text(b64encode(f"id:{former}".encode()).decode()) == "***"


def test_an_id_that_looks_like_a_jwt_by_chance_stays():
    for text in ("SZtHvoc0eyJoIouqGCKjg9", "eyJN90v5WXmHo2nuiBgmuR", "/admin/clients/yeyJm90xTZTi1eVQDtKgmF/secrets"):
        assert masking("glog").text(text) == text


@pytest.mark.parametrize("header", ['{"alg":"none"}', '{"kid":"Ä","alg":"ES256"}', '{"typ":"at+jwt","alg":"RS256"}'])
def test_a_jwt_is_masked_wherever_it_begins(header):
    head = urlsafe_b64encode(header.encode()).decode().rstrip("=")
    for before in ("", "token=", "id", "eyJN90v5WXmHo2nuiBgmuR", "eyJ"):
        for behind in (f".{head}.c2lnbmVk", ".", ""):
            assert masking("glog").text(f"/a?b={before}{head}{behind} c") == f"/a?b={before}jwt_*** c"
        assert masking("glog").text(f"{before}{head[:11]}") == f"{before}jwt_***"
