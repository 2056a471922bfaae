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
        # Always better, but by amounts that differ too much.
        ([3.0, 4.0], [1.0, 2.5], "not told apart"),
        ([1.0, 1.0], [1.0, 1.0], "not told apart"),
        # The spread of two seeds may vanish within the error of rounding.
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
    assert compare({0: 1.0}, {1: 1.0}) is None


def test_verdicts_are_those_of_a_paired_t_test():
    # So large that rounding does not matter.
    drawn = 1000 * np.random.default_rng(0).normal(size=(100, 2, 4))
    drawn[:, 0] += 1000
    verdicts = set()
    for better, worse in drawn:
        found = compare(dict(enumerate(better)), dict(enumerate(worse)))
        expected = "not told apart"
        if ttest_rel(better, worse).pvalue < 0.05:
            expected = "agrees" if better.mean() > worse.mean() else "disagrees"
        assert found.verdict == expected
        verdicts.add(expected)
    assert verdicts >= {"agrees", "not told apart"}
