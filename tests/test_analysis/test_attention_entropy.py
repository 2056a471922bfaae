import math

import pytest
import torch

from mmseg_fsr.analysis import attention_entropy


def slow_entropy(query, key):
    """A head's mean over its queries, number by number."""
    entropies = []
    for q in query.tolist():
        products = [sum(a * b for a, b in zip(q, k, strict=True)) for k in key.tolist()]
        exponentials = [math.exp(product / math.sqrt(len(q))) for product in products]
        weights = [value / sum(exponentials) for value in exponentials]
        entropies.append(-sum(weight * math.log(weight) for weight in weights))
    return sum(entropies) / len(entropies)


@pytest.mark.parametrize("chunk", [1, 3, 7, 256])
def test_matches_slow_version(chunk):
    query, key = 2 * torch.randn(2, 3, 7, 4), torch.randn(2, 3, 5, 4)
    entropy = attention_entropy(query, key, chunk)
    assert entropy.shape == (2, 3)
    for b in range(2):
        for h in range(3):
            expected = slow_entropy(query[b, h], key[b, h])
            assert float(entropy[b, h]) == pytest.approx(expected, abs=1e-5)


def test_uniform_attention_has_the_logarithm_of_the_number_of_keys():
    entropy = attention_entropy(torch.randn(2, 3, 4), torch.ones(2, 11, 4))
    torch.testing.assert_close(entropy, torch.full((2,), math.log(11)))


def test_attention_to_one_key_has_none():
    key = torch.eye(6) * 1000
    entropy = attention_entropy(key[[2, 4]], key)
    assert float(entropy) == 0
    assert float(attention_entropy(-key[:1], key[:2])) == 0


def test_queries_count_alike():
    key = torch.eye(2) * 1000
    # One query attends to a key alone, three attend to both.
    query = torch.stack([key[0], *torch.zeros(3, 2)])
    expected = 0.75 * math.log(2)
    for chunk in (1, 2, 3, 4):
        entropy = attention_entropy(query, key, chunk)
        assert float(entropy) == pytest.approx(expected, abs=1e-6)
