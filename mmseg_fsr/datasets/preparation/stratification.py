"""Training and validation images with about the same shares of all classes."""

import numpy as np

_TRAIN, _VAL = 0, 1


def choose_val_images(
    labels: np.ndarray,
    share: float,
    may_be_val: np.ndarray | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Chooses images for validation, so that each class has its share there.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas, On the stratification of
    multi-label data, 2011): the images of the class with the fewest left are dealt out
    first, each to the part that lacks most of the class. Images that are known to show
    nothing are a class of their own, and so are those that may show something. Then a
    class that one part lacks gets an image of the other, where that costs no other
    class its last one.

    Args:
        labels: Labels (N, K) of the images: 1 for a class that the image shows, 0 for
            one that it does not, negative where nobody knows.
        share: Share of the images for validation, in 0..1.
        may_be_val: Images that may be chosen, bool (N,). Defaults to None, all.
        seed: Of the order in which the images of a class are dealt out. Defaults to 0.

    Returns:
        The images of validation, bool (N,).

    Raises:
        ValueError: If ``share`` is not between 0 and 1.

    Example:
        >>> labels = np.array([[1, 0]] * 5 + [[0, 1]] * 5)
        >>> int(choose_val_images(labels, 0.2).sum())
        2
    """
    if not 0 < share < 1:
        raise ValueError(f"share={share}: expected a share of the images, in 0..1")
    rng = np.random.default_rng(seed)
    shown, has_none = labels > 0, (labels == 0).all(1)
    # Each image is of a class: those of which nobody knows a class are one, too.
    members = np.column_stack([shown, has_none, ~shown.any(1) & ~has_none])
    counts = members.sum(0)
    # A class of two images has one in each part; of one, it is for training.
    for_val = np.clip(share * counts, np.minimum(1, counts - 1), counts - 1).clip(0)
    lacking = np.stack([counts - for_val, for_val])
    lacking_images = len(labels) * np.array([1 - share, share])
    is_val = np.zeros(len(labels), bool)
    rest = np.ones(len(labels), bool)
    if may_be_val is None:
        may_be_val = rest.copy()

    def deal(image: int, part: int) -> None:
        is_val[image], rest[image] = part == _VAL, False
        lacking[part] -= members[image]
        lacking_images[part] -= 1

    for image in np.flatnonzero(~may_be_val):
        deal(image, _TRAIN)
    while rest.any():
        left = members[rest].sum(0)
        rarest = np.where(left > 0, left, len(labels) + 1).argmin()
        for image in rng.permutation(np.flatnonzero(rest & members[:, rarest])):
            in_need = [(lacking[part, rarest], lacking_images[part]) for part in (0, 1)]
            deal(image, _VAL if in_need[_VAL] > in_need[_TRAIN] else _TRAIN)
    for part in (False, True):
        for label in np.argsort(counts, kind="stable"):
            here = is_val == part
            if counts[label] < 2 or members[here, label].any():
                continue
            is_last = members & (members[~here].sum(0) == 1)
            can_move = ~here & members[:, label] & ~is_last.any(1)
            if part:
                can_move &= may_be_val
            is_val[np.flatnonzero(can_move)[:1]] = part
    return is_val
