"""A log that is kept is found again, as it was left."""

from pathlib import Path

from bench.prepared.kept import KeptLog
from bench.prepared.preparation import Prepared


def test_a_kept_log_is_known_again_and_a_new_one_is_not(tmp_path: Path) -> None:
    new = KeptLog(tmp_path / "server")
    assert (new.settings, new.events, new.prepared, new.password) == ({}, 0, None, None)
    new.grown({"GRANTLOG_PORT": "1"}, 1_000)
    new.furnished(Prepared("Basic a", "Basic b", "Basic c", "/oauth/authorize?", "cookie", access=["a token"]), "word")
    kept = KeptLog(tmp_path / "server")
    assert (kept.settings, kept.events, kept.password) == ({"GRANTLOG_PORT": "1"}, 1_000, "word")
    # Its tokens have expired until then.
    assert kept.prepared == Prepared("Basic a", "Basic b", "Basic c", "/oauth/authorize?", "cookie")


def test_nobody_else_reads_what_opens_a_kept_log(tmp_path: Path) -> None:
    KeptLog(tmp_path).grown({"GRANTLOG_MASTER_KEY": "a key"}, 1)
    assert (tmp_path / "kept.json").stat().st_mode & 0o077 == 0
