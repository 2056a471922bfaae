import math

import torch
import torch.nn.functional as F

from mmseg_fsr.analysis import attention_weights


def test_matches_one_product_after_another():
    query, key = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 6, 5)
    weights = attention_weights(query, key)
    assert weights.shape == (2, 3, 4, 6)
    for b, h, q in ((0, 0, 0), (1, 2, 3), (0, 1, 2)):
        products = [float(query[b, h, q] @ key[b, h, n]) for n in range(6)]
        exponentials = [math.exp(product / math.sqrt(5)) for product in products]
        expected = torch.tensor(exponentials) / sum(exponentials)
        torch.testing.assert_close(weights[b, h, q], expected)


def test_are_those_of_the_fused_attention():
    query, key = torch.randn(1, 2, 4, 8), torch.randn(1, 2, 6, 8)
    # With these values the output is the weights.
    value = torch.eye(6).expand(1, 2, 6, 6)
    fused = F.scaled_dot_product_attention(query, key, value)
    torch.testing.assert_close(attention_weights(query, key), fused)


def test_half_precision_is_computed_in_float32():
    query, key = (100 * torch.randn(4, 16)).half(), (100 * torch.randn(9, 16)).half()
    weights = attention_weights(query, key)
    assert weights.dtype == torch.float32
    torch.testing.assert_close(weights, attention_weights(query.float(), key.float()))
    # The products do not fit float16.
    assert (query.float() @ key.float().mT).abs().max() > torch.finfo(torch.half).max
