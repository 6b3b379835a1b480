"""Two workers beside one."""

from bench.parts import workers
from bench.prepared.subject import CLIENT_CREDENTIALS, INTROSPECTION, REFRESH
from bench.runs.spending import Spent

ONE = Spent(worker=100, database=0, loader=20, rate=1_000, others=0.02, had=0.5)


def test_two_workers_are_divided_by_one_of_the_same_round() -> None:
    spent = {(work, count): [ONE, ONE] for work in workers.BOUNDS for count in (1, 2)}
    spent[CLIENT_CREDENTIALS, 2] = [ONE._replace(rate=1_300), ONE._replace(rate=1_500)]
    spent[REFRESH, 1] = [ONE._replace(rate=0), ONE]
    spent[INTROSPECTION, 2] = [ONE._replace(had=0.85), ONE._replace(had=0.93)]
    tokens, refresh, introspection, allowed = workers.compared("SQLite", spent)
    assert (tokens.shown, tokens.met) == ("1.40 (1.30–1.50)", True)
    # A run without an answer is told as a fault, and hides no other.
    assert (refresh.shown, refresh.met) == ("0.50 (0.00–1.00)", False)
    assert introspection.met is None
    assert (allowed.shown, allowed.met) == ("0.89 (0.85–0.93)", False)
