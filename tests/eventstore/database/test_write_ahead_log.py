"""SQLite's write-ahead log goes into the file every 16 MiB, and so seldom writes the same pages there again."""

from pathlib import Path

from eventstore.database.engines import WAL_PAGES, migrating

PAGE = 4_096


def test_the_file_is_written_when_the_log_is_full(tmp_path: Path) -> None:
    file = tmp_path / "grantlog.db"
    engine = migrating(f"sqlite:///{file}")

    def write(pages: int) -> int:
        """Commits so many, a hundred at a time; the size of the file then."""
        for _ in range(pages // 100):
            with engine.begin() as connection:
                connection.exec_driver_sql(
                    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)"
                    " INSERT INTO written SELECT randomblob(4000) FROM n"
                )
        return file.stat().st_size

    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE written (text BLOB)")
    try:
        assert write(WAL_PAGES - 1_000) < 100 * PAGE
        assert write(1_200) > (WAL_PAGES - 1_000) * PAGE
    finally:
        engine.dispose()
