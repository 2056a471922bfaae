import math

import pytest

from mmseg_fsr.ablation import compare


@pytest.mark.parametrize(
    ("better", "worse", "verdict"),
    [
        ([3.0, 4.0, 5.0], [1.0, 2.0, 3.1], "agrees"),
        ([1.0, 2.0, 3.1], [3.0, 4.0, 5.0], "disagrees"),
        ([1.0, 5.0, 3.0], [2.0, 2.0, 3.0], "not told apart"),
        ([1.0, 1.0], [1.0, 1.0], "not told apart"),
        ([9.0], [1.0], "not told apart"),
    ],
)
def test_verdict(better, worse, verdict):
    found = compare(dict(enumerate(better)), dict(enumerate(worse)))
    assert found.verdict == verdict
    assert found.seeds == len(better)


def test_differences_are_taken_seed_by_seed():
    # The seeds differ by far more than the variants.
    found = compare({0: 10.0, 1: 50.0, 5: 1.0}, {1: 48.0, 0: 9.0, 2: 7.0})
    assert found.mean == pytest.approx(1.5)
    assert found.std == pytest.approx(math.sqrt(0.5))
    assert (found.seeds, found.verdict) == (2, "agrees")


def test_the_limit_is_two_standard_errors():
    # Mean 1, standard error 0.5 and a little more or less.
    for spread, verdict in ((0.499, "agrees"), (0.501, "not told apart")):
        found = compare({0: 1 + spread, 1: 1 - spread}, {0: 0.0, 1: 0.0})
        assert found.verdict == verdict


def test_without_a_common_seed_nothing_is_said():
    assert compare({0: 1.0}, {1: 1.0}) is None
