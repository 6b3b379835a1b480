"""Settings: read from the environment and `.env`, faults that name the variable, nothing secret shown."""

from pathlib import Path
from urllib.parse import unquote

import pytest
from sqlalchemy.engine import make_url

from api.config.settings import Settings, effective, masked, page, shown
from api.environment import SettingsError, default_of, load, unknown_variables
from eventstore.database.engines import arguments
from eventstore.transparency.note import Signer
from verifier.note import Cosigner

ROOT = Path(__file__).parents[2]
DEMO = {"GRANTLOG_ENVIRONMENT": "demo"}
KEY = "a-master-key-that-nobody-may-see"
PRODUCTION = {"GRANTLOG_MASTER_KEY": KEY, "GRANTLOG_ISSUER": "https://login.example.com"}


def read(environ: dict[str, str], **given: object) -> Settings:
    return load(environ, dotenv=None, **given)


def faults(environ: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read(environ)
    return caught.value.faults


def test_the_demo_needs_nothing():
    settings = read(DEMO)
    assert settings.issuer == "http://127.0.0.1:8400"
    assert settings.database_url.startswith("sqlite:////")
    assert settings.database_url.endswith("/var/grantlog.db")
    assert settings.migration_database_url == settings.database_url
    assert settings.master_key_file == Path("var/master.key")
    assert (settings.code_lifetime, settings.access_token_lifetime) == (60, 600)


def test_production_without_a_key_says_what_to_do():
    (fault,) = faults({"GRANTLOG_ISSUER": "https://login.example.com"})
    assert fault.startswith("GRANTLOG_MASTER_KEY: is missing")
    assert "openssl rand" in fault
    assert "GRANTLOG_MASTER_KEY_FILE" in fault


def test_production_needs_the_key_file_to_exist(tmp_path):
    file = tmp_path / "key"
    environ = {"GRANTLOG_MASTER_KEY_FILE": str(file), "GRANTLOG_ISSUER": "https://login.example.com"}
    assert faults(environ) == ["GRANTLOG_MASTER_KEY_FILE: names no file that can be read"]
    file.write_text("k")
    assert read(environ).master_key_file == file


def test_a_dotenv_file_is_read_and_the_environment_wins(tmp_path):
    file = tmp_path / ".env"
    file.write_text("GRANTLOG_PORT=9000\nGRANTLOG_DEMO_PORT='9001'\nGRANTLOG_ENVIRONMENT=demo\n")
    settings = load({"GRANTLOG_PORT": "9100"}, dotenv=file)
    assert (settings.port, settings.demo_port) == (9100, 9001)
    assert load({}, dotenv=file, port=9200).issuer == "http://127.0.0.1:9200"


def chosen(environ: dict[str, str]) -> set[str]:
    settings = read(environ)
    return {each.name for each in shown(settings) if getattr(settings, each.name) != default_of(settings, each.name)}


def test_what_nobody_set_is_as_it_is_by_default():
    """Also what follows from others, whose value is not the text that the documentation has."""
    assert chosen(DEMO) == {"environment"}
    assert chosen(PRODUCTION) == {"master_key", "issuer"}
    given = {"GRANTLOG_HOME": "0", "GRANTLOG_CODE_LIFETIME": "60", "GRANTLOG_DATABASE_URL": "sqlite:////x/y"}
    assert chosen(DEMO | given) == {"environment", "home", "database_url"}


def test_an_empty_variable_counts_as_unset():
    assert read({**DEMO, "GRANTLOG_PORT": ""}).port == 8400


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("PORT", "0"),
        ("PORT", "70000"),
        ("ENVIRONMENT", "staging"),
        ("LOG_FORMAT", "xml"),
        ("THROTTLE", "maybe"),
        ("TOKEN_PREFIX", "Has_Underscore"),
        ("TRUSTED_PROXIES", "10.0.0.0/8,proxy"),
        ("DATABASE_URL", "mysql://localhost/x"),
        ("DATABASE_URL", "not a url"),
        ("MIGRATION_DATABASE_URL", "nonsense"),
        ("ARGON2_MEMORY", "64"),
        ("REFRESH_GRACE", "31"),
        ("REFRESH_TOKEN_IDLE_LIFETIME", str(91 * 86400)),
        ("SESSION_IDLE_LIFETIME", str(8 * 86400)),
    ],
)
def test_a_fault_names_the_variable_and_not_its_value(name, value):
    (fault,) = faults({**DEMO, f"GRANTLOG_{name}": value})
    assert fault.startswith(f"GRANTLOG_{name}: ")
    if len(value) > 3:
        assert value not in fault


def test_all_faults_are_told_at_once():
    told = faults({**DEMO, "GRANTLOG_PORT": "x", "GRANTLOG_WORKERS": "0"})
    assert [line.split(":")[0] for line in told] == ["GRANTLOG_PORT", "GRANTLOG_WORKERS"]


@pytest.mark.parametrize(
    "issuer",
    [
        "https://login.example.com",
        "https://login.example.com:8443",
        "http://127.0.0.1:8400",
        "http://localhost:8400",
        "http://[::1]:8400",
    ],
)
def test_issuers_that_may_be_used(issuer):
    assert read({**PRODUCTION, "GRANTLOG_ISSUER": issuer}).issuer == issuer


@pytest.mark.parametrize(
    "issuer",
    [
        "http://login.example.com",
        "https://login.example.com?x=1",
        "https://login.example.com?",
        "https://login.example.com#top",
        "https://login.example.com/",
        "https://login.example.com/tenant",
        "https://user@login.example.com",
        "https://",
        "https://login.example.com:port",
        "login.example.com",
        "ftp://login.example.com",
        "https://löwe.example.com",
    ],
)
def test_issuers_that_rfc_8414_forbids(issuer):
    (fault,) = faults({**PRODUCTION, "GRANTLOG_ISSUER": issuer})
    assert fault.startswith("GRANTLOG_ISSUER: must") or fault == "GRANTLOG_ISSUER: is not a URL"


def test_a_public_address_needs_an_issuer():
    (fault,) = faults({"GRANTLOG_MASTER_KEY": KEY, "GRANTLOG_HOST": "0.0.0.0"})  # noqa: S104 - nothing listens here.
    assert fault.startswith("GRANTLOG_ISSUER: is missing")


def test_trusted_proxies_and_switches_are_parsed():
    settings = read({**DEMO, "GRANTLOG_TRUSTED_PROXIES": "10.0.0.0/8, ::1", "GRANTLOG_ALLOW_PRIVATE_URLS": "1"})
    assert settings.trusted_proxies == ("10.0.0.0/8", "::1")
    assert settings.allow_private_urls is True


def test_plain_postgresql_means_psycopg_3():
    settings = read({**DEMO, "GRANTLOG_DATABASE_URL": "postgresql://grantlog@localhost/grantlog"})
    assert settings.database_url == "postgresql+psycopg://grantlog@localhost/grantlog"


@pytest.mark.parametrize(
    ("written", "host", "port"),
    [
        ("postgresql://app:p%40ss@a:1,b:2/grantlog?target_session_attrs=read-write", "a,b", "1,2"),
        ("postgresql+psycopg://app:p%40ss@a,b:2/grantlog?target_session_attrs=read-write", "a,b", "5432,2"),
        ("postgresql://app:p%40ss@[::1]:1,[::2]/grantlog?target_session_attrs=read-write", "::1,::2", "1,5432"),
        ("postgresql://app:p%40ss@/grantlog?host=a,b&port=1,2&target_session_attrs=read-write", "a,b", "1,2"),
        ("postgresql://app:p%40ss@/grantlog?host=a:1&host=b:2&target_session_attrs=read-write", "a,b", "1,2"),
    ],
)
@pytest.mark.parametrize("field", ["database_url", "migration_database_url"])
def test_a_database_may_be_on_several_hosts(written: str, host: str, port: str, field: str):
    settings = read({**DEMO, f"GRANTLOG_{field.upper()}": written})
    found = arguments(make_url(getattr(settings, field)))
    assert {name: found[name] for name in ("host", "port", "user", "password", "dbname", "target_session_attrs")} == {
        "host": host,
        "port": port,
        "user": "app",
        "password": "p@ss",
        "dbname": "grantlog",
        "target_session_attrs": "read-write",
    }
    shown_as = unquote(masked(settings, field))
    assert "p@ss" not in shown_as
    assert host.partition(",")[0] in shown_as


@pytest.mark.parametrize(
    "written", ["postgresql://app@a:x,b:2/grantlog", "postgresql://app@/grantlog?host=a,b&port=1,2,3"]
)
def test_hosts_and_ports_that_do_not_match_are_refused(written: str):
    (fault,) = faults({**DEMO, "GRANTLOG_DATABASE_URL": written})
    assert fault == "GRANTLOG_DATABASE_URL: must have a port for each of its hosts, or none"


def test_nothing_secret_is_shown():
    environ = {**PRODUCTION, "GRANTLOG_DATABASE_URL": "postgresql+psycopg://app:pa55word@db/grantlog?password=pa55word"}
    settings = read(environ)
    everything = f"{settings!r} {list(settings.__rich_repr__())} {shown(settings)} {effective(settings)}"
    assert KEY not in everything
    assert "pa55word" not in everything
    assert masked(settings, "master_key") == "***"
    assert masked(settings, "database_url") == "postgresql+psycopg://app:***@db/grantlog"
    assert "database_url" not in effective(settings)
    assert effective(settings)["access_token_lifetime"] == "600"


WITNESS = f"https://witness.example/ {Cosigner('witness.example', bytes(32)).key}"


def test_witnesses_are_read_with_their_keys():
    settings = read({**DEMO, "GRANTLOG_WITNESSES": f"{WITNESS}, "})
    assert settings.witnesses == (WITNESS,)
    assert (settings.witness_quorum, settings.witness_timeout) == (1, 0.5)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("https://witness.example/", "a witness's URL and its verifier key"),
        (WITNESS.replace("https", "ftp"), "a witness's URL and its verifier key"),
        (WITNESS.replace("//", "//user:word@"), "a witness's URL and its verifier key"),
        (f"{WITNESS}, {WITNESS}", "names a witness twice"),
        (WITNESS[:-4] + "AAAA", "the key's id does not belong"),
        ("https://log.example/ " + str(Signer("log.example", bytes(32)).verifier), "is no witness's"),
    ],
)
def test_a_witness_that_cannot_be_used_is_pointed_out(value, words):
    (fault,) = faults({**DEMO, "GRANTLOG_WITNESSES": value})
    assert fault.startswith("GRANTLOG_WITNESSES: ")
    assert words in fault
    assert "user:word" not in fault


def test_cosignatures_demanded_are_at_most_the_witnesses():
    (fault,) = faults({**DEMO, "GRANTLOG_WITNESSES": WITNESS, "GRANTLOG_WITNESS_QUORUM": "2"})
    assert fault.startswith("GRANTLOG_WITNESS_QUORUM: ")


@pytest.mark.parametrize("name", ["a+b", "a b", "x" * 201])
def test_a_log_is_named_as_checkpoints_can_name_it(name):
    (fault,) = faults({**DEMO, "GRANTLOG_LOG_ORIGIN": name})
    assert fault.startswith("GRANTLOG_LOG_ORIGIN: ")


def test_every_setting_says_what_it_means():
    for setting in shown(read(DEMO)):
        assert setting.meaning.endswith("."), setting.name
        assert setting.variable == "GRANTLOG_" + setting.name.upper()


def test_misspelt_variables_are_found():
    assert unknown_variables({"GRANTLOG_ISUER": "x", "GRANTLOG_PORT": "1", "PATH": "/"}) == ["GRANTLOG_ISUER"]


def test_the_settings_page_is_current():
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == page(), "run `make docs`"
