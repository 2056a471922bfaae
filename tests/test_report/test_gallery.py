import random

import pytest

from mmseg_fsr.report import WorstImages


@pytest.mark.parametrize("limit", [1, 5, 40])
def test_keeps_what_sorting_all_would(limit):
    draw = random.Random(0)
    scores = [draw.choice([None, *(i / 10 for i in range(10))]) for _ in range(40)]
    worst, made = WorstImages(limit), []

    def keep(index):
        made.append(index)
        return index

    for index, score in enumerate(scores):
        worst.add(score, lambda index=index: keep(index))
    order = sorted(range(40), key=lambda i: (scores[i] is None, scores[i] or 0, i))
    assert worst.sorted() == order[:limit]
    # Pictures of what comes too late to be among the worst are never made.
    assert len(made) < 40 or limit == 40
