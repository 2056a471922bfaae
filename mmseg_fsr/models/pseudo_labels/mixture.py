"""Mixture of two normal distributions of equal spread, as pure functions."""

from typing import NamedTuple

from torch import Tensor


class Mixture(NamedTuple):
    """Two weighted normal distributions with one standard deviation.

    The higher a value, the more probably it came from the component with the higher
    mean, which two different deviations would not grant.

    Attributes:
        weight: (2,) float, sums to 1.
        mean: (2,) float, ascending.
        std: Positive float scalar.
    """

    weight: Tensor
    mean: Tensor
    std: Tensor

    def responsibility(self, values: Tensor) -> Tensor:
        """Probability that each value (N,) came from each component, (2, N)."""
        log_density = -(((values - self.mean[:, None]) / self.std) ** 2) / 2
        return (log_density + self.weight.log()[:, None]).softmax(0)

    def value_at(self, log_odds: float) -> Tensor:
        """The value with these log odds of being of the second component."""
        first, second = self.mean
        prior = (self.weight[0] / self.weight[1]).log()
        slope = (second - first) / self.std**2
        return (first + second) / 2 + (log_odds + prior) / slope


def refine_mixture(mixture: Mixture, counts: Tensor, values: Tensor) -> Mixture:
    """One step of expectation maximisation.

    Args:
        mixture: The mixture so far.
        counts: How often each value occurs, (N,) float, positive.
        values: The values, (N,) float, more than two of them.

    Returns:
        A mixture under which the values are no less likely.
    """
    share = mixture.responsibility(values) * counts
    total = share.sum(1)
    mean = (share * values).sum(1) / total
    variance = (share * (values - mean[:, None]) ** 2).sum() / total.sum()
    return Mixture(total / total.sum(), mean, variance.sqrt())
