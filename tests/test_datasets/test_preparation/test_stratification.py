import doctest

import numpy as np
import pytest

from mmseg_fsr.datasets.preparation import stratification
from mmseg_fsr.datasets.preparation.stratification import choose_val_images


def draw_labels(seed, number=400):
    """Labels with classes from common to rare, and with images that show none."""
    rng = np.random.default_rng(seed)
    return rng.random((number, 7)) < [0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_each_class_and_none_has_its_share(seed, share):
    shown = draw_labels(seed)
    is_val = choose_val_images(shown, share)
    members = np.column_stack([shown, ~shown.any(1)])
    counts, in_val = members.sum(0), members[is_val].sum(0)
    # A rare class has at least one image in each part.
    wanted = np.maximum(share * counts, counts > 1)
    assert np.abs(in_val - wanted).max() <= 2
    assert abs(is_val.mean() - share) <= 0.03


def test_it_is_better_than_chance():
    shown = draw_labels(0)
    share = 0.2

    def error(is_val):
        return np.abs(shown[is_val].sum(0) - share * shown.sum(0)).sum()

    rng = np.random.default_rng(0)
    by_chance = [error(rng.permutation(len(shown)) < 80) for _ in range(100)]
    assert error(choose_val_images(shown, share)) < min(by_chance)


def test_two_images_of_a_class_are_one_in_each_part():
    failed = 0
    for seed in range(600):
        rng = np.random.default_rng(seed)
        shown = rng.random((20, 8)) < rng.uniform(0.05, 0.4)
        is_val = choose_val_images(shown, 0.2)
        members = np.column_stack([shown, ~shown.any(1)])
        both = members[is_val].any(0) & members[~is_val].any(0)
        failed += (~both & (members.sum(0) > 1)).any()
    # Crowded with classes: without any of its two rules many more fail.
    assert failed <= 1


def test_one_class_and_none():
    shown = np.array([[True]] * 20 + [[False]] * 80)
    is_val = choose_val_images(shown, 0.2)
    assert (is_val[:20].sum(), is_val[20:].sum()) == (4, 16)


def test_a_single_image_of_a_class_is_for_training():
    shown = np.eye(4, dtype=bool).repeat([1, 5, 5, 5], axis=0)
    for seed in range(10):
        assert not choose_val_images(shown, 0.6, seed=seed)[0]


def test_the_seed_alone_decides():
    shown = draw_labels(1)
    first = choose_val_images(shown, 0.2)
    np.testing.assert_array_equal(first, choose_val_images(shown, 0.2, seed=0))
    assert (first != choose_val_images(shown, 0.2, seed=1)).any()


def test_only_images_that_may_are_chosen():
    shown = draw_labels(2)
    may = np.arange(len(shown)) % 4 == 0
    is_val = choose_val_images(shown, 0.2, may)
    assert not (is_val & ~may).any()
    assert abs(is_val.sum() - 80) <= 4
    # Fewer than the share: all of them.
    few = np.arange(len(shown)) < 30
    assert choose_val_images(shown, 0.2, few).sum() >= 25


@pytest.mark.parametrize("share", [0, 1, -0.1, 20])
def test_a_share_is_in_0_to_1(share):
    with pytest.raises(ValueError, match=r"share=.*: expected a share"):
        choose_val_images(np.ones((3, 1), bool), share)


def test_the_example_holds():
    failed, attempted = doctest.testmod(stratification, extraglobs=dict(np=np))
    assert (failed, attempted > 0) == (0, True)


def test_images_of_which_nothing_is_known_are_dealt_out_too():
    labels = np.array([[1, 0]] * 5 + [[0, 0]] * 10 + [[0, -1]] * 10)
    is_val = choose_val_images(labels, 0.2)
    assert [int(x.sum()) for x in np.split(is_val, [5, 15])] == [1, 2, 2]
