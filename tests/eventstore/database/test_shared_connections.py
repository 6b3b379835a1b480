"""Logs in schemas of one PostgreSQL share a bounded number of connections, and nothing goes over with one."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import TimeoutError as PoolTimeout

from eventstore.database import shared_questions, threads
from eventstore.database.engines import (
    arguments,
    beside,
    in_schema,
    reading,
    shared_connections,
    snapshots,
    writing,
)
from eventstore.database.replica import seen_up_to
from eventstore.database.shared_connections import SchemaUrl, Session, SharedConnections
from eventstore.database.shared_questions import AT_ONCE, LogConnections, SharedQuestions, _Asker
from eventstore.ledger import Ledger
from eventstore.unavailable import DatabaseAway
from security.clock import ManualClock
from security.keyring import Keyring
from tests.eventstore.conftest import HERE, register
from tests.started import PATIENCE

BUSY = 12
BOUND = 8
LISTENING = 1


@pytest.fixture
def owner(postgresql_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(**arguments(make_url(postgresql_url)), autocommit=True) as connection:
        yield connection


@pytest.fixture
def shared() -> Iterator[SharedConnections]:
    made = shared_connections(1)
    yield made
    made.close_unused(0)
    assert made.number == 0


def session(url: str, schema: str, **settings: int) -> Session:
    return Session(SchemaUrl.of(in_schema(url, schema)), tuple(settings.items()))


def told(driver: Any, question: str) -> Any:
    return driver.execute(question).fetchone()[0]


def test_nothing_of_a_session_goes_over_to_another_log(
    postgresql_url: str, owner: psycopg.Connection, shared: SharedConnections
) -> None:
    owner.execute("CREATE SCHEMA a; CREATE TABLE a.things AS SELECT 1 AS thing; CREATE TABLE a.only_here (id int)")
    owner.execute("CREATE SCHEMA b; CREATE TABLE b.things AS SELECT 'one' AS thing")
    of_a, of_b = session(postgresql_url, "a", lock_timeout=7_000), session(postgresql_url, "b")
    driver = shared.take(of_a)
    pid = driver.info.backend_pid
    driver.autocommit = True
    for _ in range(8):
        # The driver prepares it at the fifth time.
        assert told(driver, "SELECT thing FROM things") == 1
    assert told(driver, "SELECT count(*) FROM pg_prepared_statements") >= 1
    driver.execute("PREPARE mine AS SELECT 1")
    driver.execute("CREATE TEMPORARY TABLE things AS SELECT 2 AS thing")
    driver.execute("SET work_mem = '77MB'")
    driver.execute("DECLARE held CURSOR WITH HOLD FOR SELECT 1")
    driver.execute("LISTEN anything")
    driver.execute("SELECT pg_advisory_lock(7)")
    driver.execute("SET search_path = a, public")
    shared.give_back(driver)

    driver = shared.take(of_b)
    assert driver.info.backend_pid == pid
    left = {
        "SELECT current_setting('search_path')": "b",
        "SELECT current_setting('lock_timeout')": "0",
        "SELECT count(*) FROM pg_prepared_statements": 0,
        "SELECT count(*) FROM pg_cursors WHERE name = 'held'": 0,
        "SELECT count(*) FROM pg_listening_channels()": 0,
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()": 0,
        "SELECT to_regclass('only_here') IS NULL AND to_regclass('stored_events') IS NULL": True,
    }
    assert {question: told(driver, question) for question in left} == left
    assert told(driver, "SELECT current_setting('work_mem')") != "77MB"
    assert not driver.autocommit
    for _ in range(8):
        assert told(driver, "SELECT thing FROM things") == "one"
    driver.rollback()
    shared.give_back(driver)
    # And back, where the same words are about another type.
    driver = shared.take(of_a)
    assert (told(driver, "SELECT thing FROM things"), told(driver, "SHOW lock_timeout")) == (1, "7s")
    driver.rollback()
    shared.give_back(driver)


def test_a_session_that_is_in_the_middle_of_something_is_nobodys(
    postgresql_url: str, shared: SharedConnections
) -> None:
    driver = shared.take(session(postgresql_url, "public"))
    driver.execute("SELECT 1")
    shared.give_back(driver)
    assert (driver.closed, shared.number) == (True, 0)


def test_one_that_was_closed_as_it_lay_there_takes_no_place(postgresql_url: str, shared: SharedConnections) -> None:
    driver = shared.take(session(postgresql_url, "public"))
    shared.give_back(driver)
    driver.close()
    another = shared.take(session(postgresql_url, "public"))
    assert (told(another, "SELECT 1"), shared.number) == (1, 1)
    another.rollback()
    shared.give_back(another)


def test_what_cannot_be_handed_over_makes_room_for_another(
    postgresql_url: str, owner: psycopg.Connection, shared: SharedConnections
) -> None:
    """What fails on the way to its new owner is closed, and its place is the next one's."""
    with pytest.raises(psycopg.Error):
        shared.take(session(postgresql_url, "public", no_such_setting=1))
    assert shared.number == 0
    with pytest.raises(ValueError, match="names no schema"):
        SchemaUrl.of(postgresql_url)
    driver = shared.take(session(postgresql_url, "public"))
    owner.execute("SELECT pg_terminate_backend(%s, 60000)", (driver.info.backend_pid,))
    shared.give_back(driver)
    assert told(another := shared.take(session(postgresql_url, "public")), "SELECT 1") == 1
    another.rollback()
    shared.give_back(another)


def test_who_waits_is_served_in_order(
    postgresql_url: str, shared: SharedConnections, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (session(postgresql_url, name) for name in ("public", "other"))
    kept = [shared.take(one)]

    def let_go() -> bool:
        if not kept:
            return False
        shared.give_back(kept.pop())
        return True

    shared.keep(shared, let_go)
    # Nobody uses it.
    driver = shared.take(two)
    monkeypatch.setattr(threads, "ANSWERS_WITHIN", 0.01)
    with pytest.raises(PoolTimeout):
        shared.take(one)
    monkeypatch.setattr(threads, "ANSWERS_WITHIN", PATIENCE)
    served: list[int] = []

    def wait(number: int) -> None:
        taken = shared.take(one)
        served.append(number)
        shared.give_back(taken)

    waiting = []
    for number in range(4):
        waiting.append(threading.Thread(target=wait, args=(number,)))
        waiting[-1].start()
        while len(shared._waiting) <= number and waiting[-1].is_alive():
            waiting[-1].join(0.001)
    assert shared.is_wanted
    shared.give_back(driver)
    for each in waiting:
        each.join(PATIENCE)
    assert served == [0, 1, 2, 3]


def test_who_cannot_ask_the_others_waits_no_more(postgresql_url: str, shared: SharedConnections) -> None:
    """Nor is it served when it is gone: neither with what it was handed by then nor later."""
    of_all = session(postgresql_url, "public")
    for hands_over in (False, True):
        driver = shared.take(of_all)

        def fail(driver: Any = driver, hands_over: bool = hands_over) -> bool:
            if hands_over:
                shared.give_back(driver)
            raise ZeroDivisionError

        shared.keep(shared, fail)
        with pytest.raises(ZeroDivisionError):
            shared.take(of_all)
        shared.keep_no_more(shared)
        if not hands_over:
            shared.give_back(driver)
        assert (shared.is_wanted, shared.number) == (False, 1)


def test_a_database_that_is_away_takes_one_place(postgresql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for it to answer keeps nobody else from another database."""
    monkeypatch.setattr(threads, "ANSWERS_WITHIN", PATIENCE)
    entered, answers = threading.Event(), threading.Event()

    def connect(url: str) -> Any:
        if make_url(url).database != "away":
            return psycopg.connect(**arguments(make_url(url)))
        entered.set()
        answers.wait(2 * PATIENCE)
        raise psycopg.OperationalError("away")

    shared = SharedConnections(2, connect)
    away = session(str(make_url(postgresql_url).set(database="away")), "public")
    answers.set()
    with pytest.raises(psycopg.OperationalError):
        shared.take(away)
    entered.clear()
    answers.clear()
    ended: list[type[BaseException]] = []

    def ask() -> None:
        try:
            shared.take(away)
        except psycopg.OperationalError as error:
            ended.append(type(error))

    asking = [threading.Thread(target=ask, daemon=True) for _ in range(3)]
    for each in asking:
        each.start()
    assert entered.wait(PATIENCE)
    shared.give_back(shared.take(session(postgresql_url, "public")))
    answers.set()
    for each in asking:
        each.join(PATIENCE)
    assert ended == [psycopg.OperationalError] * 3
    shared.close_unused(0)
    assert shared.number == 0


def test_what_was_given_back_is_not_broken_off(postgresql_url: str, shared: SharedConnections) -> None:
    """Somebody may have given up on a thread that waits for another connection by now."""
    work = threads.Work()
    work.begin()
    try:
        shared.give_back(shared.take(session(postgresql_url, "public")))
        driver = shared.take(session(postgresql_url, "other"))
        shared.give_back(driver)
        pid = driver.info.backend_pid
        work.break_off()
    finally:
        work.end()
    again = shared.take(session(postgresql_url, "public"))
    assert again.info.backend_pid == pid
    shared.give_back(again)


async def test_a_question_that_was_given_up_leaves_no_connection(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = SharedQuestions()
    url = in_schema(postgresql_url, "public")
    late, other = questions.head(url), questions.head(url)
    answered = _Asker.position

    async def position(asker: _Asker, schema: str) -> int:
        found = await answered(asker, schema)
        late.give_up()
        return found

    with monkeypatch.context() as patch:
        patch.setattr(_Asker, "position", position)
        with pytest.raises(DatabaseAway):
            await late.ask()
    assert await other.ask() == 0
    for each in (late, other):
        each.close()


def schemas(owner: psycopg.Connection, number: int) -> list[str]:
    """Empty logs, made of the tables of the one that migrations made."""
    tables = [name for (name,) in owner.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    names = [f"log_{each}" for each in range(number)]
    for name in names:
        owner.execute(f"CREATE SCHEMA {name}")
        for table in tables:
            owner.execute(f"CREATE TABLE {name}.{table} (LIKE public.{table} INCLUDING ALL)")
            owner.execute(f"INSERT INTO {name}.{table} OVERRIDING SYSTEM VALUE TABLE public.{table}")
    return names


def connected(owner: psycopg.Connection) -> int:
    """Connections that the server has, but for the one that asks."""
    question = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    (found,) = owner.execute(question).fetchone() or (0,)
    return int(found)


async def test_busy_logs_share_a_few_connections(
    postgresql_url: str, owner: psycopg.Connection, keyring: Keyring, clock: ManualClock
) -> None:
    connections = LogConnections(shared_connections(BOUND), SharedQuestions(), shared_connections(1))
    urls = [in_schema(postgresql_url, each) for each in schemas(owner, BUSY)]
    logs = [await Ledger.open(url, keyring, clock, read_threads=2, connections=connections) for url in urls]
    most = 0

    async def busy(log: Ledger, number: int) -> None:
        nonlocal most
        for count in range(4):
            heard = log.arrivals.count
            await log.execute(register(f"client-{number}-{count}"), origin=HERE)
            await asyncio.gather(log.arrivals.wait(heard), log.settled(), *(log.read(position_here) for _ in range(4)))
            here = (log.changes.position, f"log_{number}")
            assert await log.read(position_here) == await log.read_long(position_here) == here
            most = max(most, connected(owner))

    await asyncio.gather(*(busy(log, number) for number, log in enumerate(logs)))
    assert BOUND < most <= BOUND + AT_ONCE + LISTENING
    assert connections.taken.number <= BOUND
    for log in logs:
        await log.close()
    connections.taken.close_unused(0)
    assert connections.taken.number == 0


async def test_logs_share_connections_to_standbys(
    postgresql_url: str, owner: psycopg.Connection, keyring: Keyring, clock: ManualClock
) -> None:
    connections = LogConnections(shared_connections(BOUND), SharedQuestions(), shared_connections(2))
    told: list[str] = []
    # The primary itself has what it is asked for, too.
    logs = [
        await Ledger.open(url, keyring, clock, connections=connections, replica_url=url, on_replica=told.append)
        for url in (in_schema(postgresql_url, each) for each in schemas(owner, BUSY))
    ]

    def schema_of(connection: Any, keys: Sequence[int]) -> dict[int, tuple[str, int | None]]:
        (found,) = connection.execute(text("SELECT current_schema()")).one()
        return dict.fromkeys(keys, (found, seen_up_to(connection)))

    most = 0

    async def busy(log: Ledger, number: int) -> None:
        nonlocal most
        await log.execute(register(f"client-{number}"), origin=HERE)
        for key in range(4):
            # Its newest event is proven to be there, and that of no other log.
            found, position = await log._reader.find(schema_of, key) or ("", 0)
            assert (found, position or log.changes.position) == (f"log_{number}", log.changes.position)
            assert connections.standbys.number <= 2
            most = max(most, connected(owner))

    await asyncio.gather(*(busy(log, number) for number, log in enumerate(logs)))
    # Those to standbys are as many more, and no others are.
    assert BOUND < most <= BOUND + 2 + AT_ONCE + LISTENING
    assert "answered" in told
    assert connections.standbys.number > 0
    for log in logs:
        await log.close()
    connections.close_unused(0)
    assert connections.taken.number == connections.standbys.number == 0


async def test_one_question_tells_which_of_many_logs_are_unlike(
    postgresql_url: str, owner: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_questions, "LOOK_EVERY", 0.01)
    questions, names = SharedQuestions(), schemas(owner, 4)
    known = dict.fromkeys(names, 0)

    def look(name: str) -> asyncio.Task[None]:
        return asyncio.create_task(questions.unlike(in_schema(postgresql_url, name), known[name]))

    heads = [questions.head(in_schema(postgresql_url, each)) for each in names]
    known["log_1"] = 7
    looks = [look(each) for each in names]
    async with asyncio.timeout(PATIENCE):
        await looks[1]
        assert not any(each.done() for each in (looks[0], looks[2], looks[3]))
        owner.execute(
            "INSERT INTO log_2.stored_events (id, originator_id, originator_version, topic, state) "
            "VALUES (5, 'client:nobody', 1, 'client.disabled', '{}')"
        )
        await looks[2]
        assert not any(each.done() for each in (looks[0], looks[3]))
        owner.execute("DROP SCHEMA log_3 CASCADE")
        # What cannot be found out of one is looked for by all, each over its own connections.
        await asyncio.gather(looks[0], looks[3])
    for each in heads:
        each.close()


async def test_two_who_know_a_log_differently_are_told_apart(
    postgresql_url: str, owner: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_questions, "LOOK_EVERY", 0.01)
    questions, (name,) = SharedQuestions(), schemas(owner, 1)
    url = in_schema(postgresql_url, name)
    head = questions.head(url)
    right, wrong, right_too = [asyncio.create_task(questions.unlike(url, known)) for known in (0, 7, 0)]
    async with asyncio.timeout(PATIENCE):
        await wrong
        assert [each.done() for each in (right, right_too)] == [False, False]
        owner.execute("UPDATE log_0.log_head SET position = 7")
        await asyncio.gather(right, right_too)
    head.close()


async def test_nobody_waits_for_a_look_that_failed_unforeseen(
    postgresql_url: str, owner: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> Any:
        raise ValueError("unforeseen")

    monkeypatch.setattr(shared_questions, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(shared_questions._Looking, "_found", broken)
    (name,) = schemas(owner, 1)
    async with asyncio.timeout(PATIENCE):
        await SharedQuestions().unlike(in_schema(postgresql_url, name), 0)


def position_here(connection: Any) -> tuple[int, str]:
    """How far the log has come, and which it is."""
    position, schema = connection.execute(text("SELECT max(id), current_schema() FROM stored_events")).one()
    return position, schema


def test_an_engine_gives_back_what_it_had(postgresql_url: str, shared: SharedConnections) -> None:
    url = in_schema(postgresql_url, "public")
    with ExitStack() as stack:
        for engine in (reading(url, 1, shared), writing(url, shared)):
            stack.callback(engine.dispose)
            for _ in range(3):
                with engine.connect() as connection:
                    driver: Any = connection.connection.driver_connection
                    assert connection.scalar(text("SELECT current_schema()")) == "public"
                assert shared.number == 1
    assert len(driver._notice_handlers) == 0


def test_a_transaction_is_one_whoever_had_the_connection_before(
    postgresql_url: str, owner: psycopg.Connection, shared: SharedConnections
) -> None:
    """One log's engines want transactions of different kinds, and what one wants is not what the next one gets."""
    owner.execute("CREATE TABLE public.things (thing int)")
    url = in_schema(postgresql_url, "public")
    kinds = []
    for before in (reading(url, 1, shared), snapshots(url, 1, shared)):
        with before.connect() as connection:
            connection.execute(text("SELECT 1"))
        with beside(url, shared).connect() as connection:
            kinds.append(connection.scalar(text("SHOW transaction_isolation")))
            connection.execute(text("INSERT INTO things VALUES (1)"))
            connection.rollback()
    assert shared.number == 1
    assert kinds == ["read committed"] * 2
    assert owner.execute("SELECT count(*) FROM public.things").fetchone() == (0,)
