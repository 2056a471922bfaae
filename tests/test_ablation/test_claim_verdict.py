import math

import numpy as np
import pytest
from scipy.stats import ttest_rel

from mmseg_fsr.ablation import compare


@pytest.mark.parametrize(
    ("better", "worse", "verdict"),
    [
        ([3.0, 4.0, 5.0], [1.0, 2.0, 3.1], "agrees"),
        ([1.0, 2.0, 3.1], [3.0, 4.0, 5.0], "disagrees"),
        ([2.0, 2.0], [1.0, 1.0], "agrees"),
        ([1.0, 5.0, 3.0], [2.0, 2.0, 3.0], "not told apart"),
        # Always better, but by amounts that differ too much.
        ([3.0, 4.0], [1.0, 2.5], "not told apart"),
        ([1.0, 1.0], [1.0, 1.0], "not told apart"),
        # As far off as rounding may be, by which spreads of two seeds vanish.
        ([17.379999, 16.1], [17.39, 16.110001], "not told apart"),
        ([17.37, 16.09], [17.39, 16.11], "disagrees"),
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
    assert (found.seeds, found.verdict) == (2, "not told apart")


def test_verdicts_are_those_of_a_paired_t_test():
    # So large that rounding does not matter.
    drawn = 1000 * np.random.default_rng(0).normal(size=(300, 2, 4))
    drawn[:, 0] += 1000
    verdicts = set()
    for better, worse in drawn:
        found = compare(dict(enumerate(better)), dict(enumerate(worse)))
        told_apart = ttest_rel(better, worse).pvalue < 0.05
        assert (found.verdict != "not told apart") == told_apart
        if told_apart:
            assert found.verdict == ("agrees" if found.mean > 0 else "disagrees")
        verdicts.add(found.verdict)
    assert verdicts >= {"agrees", "not told apart"}


def test_without_a_common_seed_nothing_is_said():
    assert compare({0: 1.0}, {1: 1.0}) is None
