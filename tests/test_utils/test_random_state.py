import random

import numpy as np
import pytest
import torch

from mmseg_fsr.utils.random_state import kept_random_state, seed_all


def draws():
    return (
        torch.rand(2).tolist(),
        np.random.rand(2).tolist(),  # noqa: NPY002
        [random.random() for _ in range(2)],
    )


def drawn_after(*keys):
    seed_all(*keys)
    return draws()


def test_random_numbers_depend_on_every_key():
    assert drawn_after(1, 2) == drawn_after(1, 2)
    for other in ((1, 3), (2, 2), (2, 1), (1, 2, 0)):
        for mine, others in zip(drawn_after(1, 2), drawn_after(*other), strict=True):
            assert mine != others


@pytest.mark.parametrize("error", [None, RuntimeError])
def test_random_numbers_go_on_as_if_nothing_had_been_drawn(error):
    expected = drawn_after(0)
    seed_all(0)
    try:
        with kept_random_state():
            assert drawn_after(1) != expected
            if error:
                raise error
    except RuntimeError:
        pass
    assert draws() == expected
