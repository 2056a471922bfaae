import math

import pytest
import torch

from mmseg_fsr.models.pseudo_labels.mixture import Mixture, refine_mixture

START = Mixture(torch.tensor([0.5, 0.5]), torch.tensor([0.2, 0.7]), torch.tensor(0.2))


def slow_refine(weight, mean, std, samples):
    """Expectation maximisation, sample by sample."""
    shares = []
    for x in samples:
        density = [
            w * math.exp(-((x - m) ** 2) / (2 * std**2))
            for w, m in zip(weight, mean, strict=True)
        ]
        shares.append([d / sum(density) for d in density])
    total = [sum(share[i] for share in shares) for i in range(2)]
    mean = [
        sum(share[i] * x for share, x in zip(shares, samples, strict=True)) / total[i]
        for i in range(2)
    ]
    variance = sum(
        share[i] * (x - mean[i]) ** 2
        for share, x in zip(shares, samples, strict=True)
        for i in range(2)
    ) / len(samples)
    return [t / len(samples) for t in total], mean, math.sqrt(variance)


def test_matches_slow_version():
    values, counts = torch.tensor([0.0, 0.1, 0.4, 0.8, 0.9]), [3, 5, 1, 2, 4]
    samples = [x for x, n in zip(values.tolist(), counts, strict=True) for _ in [0] * n]
    mixture, expected = START, tuple(part.tolist() for part in START)
    for _ in range(3):
        mixture = refine_mixture(mixture, torch.tensor(counts).float(), values)
        expected = slow_refine(*expected, samples)
        for part, value in zip(mixture, expected, strict=True):
            torch.testing.assert_close(part, torch.tensor(value))


def test_finds_what_values_were_drawn_from():
    values = (torch.arange(200) + 0.5) / 200
    drawn = Mixture(
        torch.tensor([0.7, 0.3]), torch.tensor([0.25, 0.65]), torch.tensor(0.1)
    )
    density = torch.exp(-(((values - drawn.mean[:, None]) / drawn.std) ** 2) / 2)
    counts = (drawn.weight[:, None] * density).sum(0)
    mixture = START
    for _ in range(100):
        mixture = refine_mixture(mixture, counts, values)
    for part, expected in zip(mixture, drawn, strict=True):
        torch.testing.assert_close(part, expected, atol=5e-3, rtol=0)


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_value_at_has_the_probability(probability):
    mixture = Mixture(
        torch.tensor([0.8, 0.2]), torch.tensor([0.1, 0.6]), torch.tensor(0.15)
    )
    value = mixture.value_at(math.log(probability / (1 - probability)))
    share = mixture.responsibility(value[None])
    torch.testing.assert_close(share[1], torch.tensor([probability]))
    torch.testing.assert_close(share.sum(0), torch.ones(1))
