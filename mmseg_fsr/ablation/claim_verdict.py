"""Statistics that say whether measurements support a claim."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from scipy.stats import t

_CONFIDENCE = 0.95
# Error of a difference of two scores that are rounded to two decimals, as float32.
_ROUNDING = 0.01 + 1e-5


@dataclass(frozen=True)
class Comparison:
    """How much better one variant is than another.

    Attributes:
        mean: Mean of the differences, seed by seed.
        std: Their standard deviation; None for one seed.
        seeds: Number of seeds that both variants have.
        verdict: ``'agrees'``, ``'disagrees'`` or ``'not told apart'``.
    """

    mean: float
    std: float | None
    seeds: int
    verdict: str


def compare(
    better: Mapping[int, float], worse: Mapping[int, float]
) -> Comparison | None:
    """Compares the scores of two variants over the seeds that both have.

    With one seed, both variants see the same data in the same order. Differences are
    therefore taken seed by seed: they vary less than the scores.

    Args:
        better: Scores by seed of the variant that the claim says is better, in
            percent, rounded to two decimals.
        worse: Scores by seed of the other variant.

    Returns:
        The comparison; None without a common seed. It agrees or disagrees with the
        claim if the 95 % confidence interval of the mean difference (Student's t),
        widened by the rounding, is on one side of 0. One seed is never enough.

    Example:
        >>> compare({0: 31.0, 1: 32.0}, {0: 30.0, 1: 31.0})
        Comparison(mean=1.0, std=0.0, seeds=2, verdict='agrees')
    """
    differences = [better[seed] - worse[seed] for seed in better if seed in worse]
    if not differences:
        return None
    mean = statistics.mean(differences)
    if len(differences) == 1:
        return Comparison(mean, None, 1, "not told apart")
    std = statistics.stdev(differences)
    count = len(differences)
    half_width = t.ppf((1 + _CONFIDENCE) / 2, count - 1) * std / math.sqrt(count)
    if abs(mean) <= half_width + _ROUNDING:
        verdict = "not told apart"
    else:
        verdict = "agrees" if mean > 0 else "disagrees"
    return Comparison(mean, std, count, verdict)
