"""What is read out of a load generator's account."""

from bench.load import oha


def test_refusals_losses_and_what_was_never_sent_are_told_apart() -> None:
    said = {
        "statusCodeDistribution": {"200": 60, "503": 20, "500": 1},
        "errorDistribution": {"connection closed": 4, "aborted due to deadline": 3},
        "latencyPercentilesSuccessful": {"p50": 0.002, "p99": None},
    }
    found = oha.paced(said, rate=50, seconds=2)
    assert (found.offered, found.accepted, found.unsent, found.broken, found.failed) == (50, 30, 12, 4, 5)
    assert (found.p50, found.p99) == (2, 0)
    assert found.shed == 20 / 81
