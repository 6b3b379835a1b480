"""What the simulator adds up, and that the page has its tables."""

from bench.planet import BEGIN, BUSY, END, PAGE, Costs, carried, plan, tables

COSTS = Costs(worker_us=300, database_us=100, bytes_for_token=1_000, head=1_000, core_month=10, gigabyte_month=1)


def test_a_rate_takes_cores_heads_and_disk() -> None:
    found = plan(6_000, COSTS)
    assert (found.issuers, found.worker_cores, found.database_cores) == (6, round(6_000 * 300e-6 / BUSY), 1)
    assert found.terabytes == 6_000 * 30 * 86_400 * 1_000 / 1e12
    assert (found.for_cores, found.for_disk) == (4 * 10, found.terabytes * 1_000)
    assert plan(12_000, COSTS).worker_cores == 2 * found.worker_cores


def test_what_is_full_first_is_the_least() -> None:
    assert carried(100, 8, 2, COSTS) == (2_000, "heads")
    assert carried(1, 8, 1_000, COSTS) == (8 * BUSY * 1e6 / 400, "workers")
    assert carried(1, 8, 1_000, COSTS._replace(worker_us=100, database_us=300)).first == "databases"


def test_the_page_has_these_tables() -> None:
    assert f"{BEGIN}\n{tables(Costs())}\n{END}" in PAGE.read_text(encoding="utf-8")
