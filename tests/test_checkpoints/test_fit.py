import pytest
import torch
from torch import nn

from mmseg_fsr.checkpoints.fit import check_weights


class Network(nn.Module):
    def __init__(self, width=3):
        super().__init__()
        self.linear = nn.Linear(2, width)
        self.pos_embed = nn.Parameter(torch.zeros(1, 4, 2))


OWN = Network().state_dict()
ONE = torch.zeros(1)
LESS = {name: x for name, x in OWN.items() if name != "linear.bias"}
LARGER_GRID = OWN | {"pos_embed": torch.zeros(1, 9, 2)}
# What weights are for, as arguments.
TEST, START = {}, dict(training=True)
RESUME = dict(training=True, resumed=True)


def with_training_parts():
    model = Network()
    model.teacher = nn.Linear(2, 2)
    model.distill_head = nn.Linear(2, 2)
    model.auxiliary_head = nn.ModuleList([nn.Linear(2, 2)])
    model.linear.teacher = nn.Linear(2, 2)
    return model.state_dict()


@pytest.mark.parametrize(
    ("given", "use"),
    [
        (OWN, TEST),
        (OWN, START),
        (OWN, RESUME),
        # A position embedding is resized while loading.
        (LARGER_GRID, TEST),
        (LARGER_GRID, START),
        # Training may start from less or more than the model has.
        (LESS | {"head.weight": ONE}, START),
        # Parts that only training uses.
        (OWN | {"distill_head.weight": ONE, "teacher.linear.weight": ONE}, TEST),
    ],
)
def test_weights_that_fit(given, use):
    check_weights(OWN, given, **use)


def test_tested_weights_need_nothing_that_only_training_uses():
    check_weights(with_training_parts(), OWN)


OTHER_SHAPE = (Network(width=5).state_dict(), r"linear.weight is \(5, 2\) instead of")
MISSING = (LESS, r"in 1 tensors: linear\.bias is missing")


@pytest.mark.parametrize(
    ("given", "message", "use"),
    [
        *((*OTHER_SHAPE, use) for use in (TEST, START, RESUME)),
        *((*MISSING, use) for use in (TEST, RESUME)),
        (LARGER_GRID, r"pos_embed is \(1, 9, 2\) instead", RESUME),
        (OWN | {"head.weight": ONE}, r"head.weight is not in the model", RESUME),
        ({"other.weight": ONE}, r"3 tensors: linear.bias is missing", START),
        # A deeper network's.
        (OWN | {"linear.1.weight": ONE}, r"1 tensors: linear\.1\.weight is not", TEST),
        # Five tensors are named at most.
        (
            {f"x{i}": ONE for i in range(9)},
            r"in 12 tensors: ([^;]*;){4}[^;]* and 7 more\. ",
            RESUME,
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(given, message, use):
    with pytest.raises(ValueError, match=message):
        check_weights(OWN, given, **use)


def test_resumed_weights_need_all_that_training_uses():
    with pytest.raises(ValueError, match=r"in 8 tensors: auxiliary_head\.0\.bias is"):
        check_weights(with_training_parts(), OWN, **RESUME)


@pytest.mark.parametrize(
    ("classes", "words"),
    [(21, r"\. It has 21 classes, this config 3\. Resume"), (3, r"missing\. Resume")],
)
def test_another_number_of_classes_is_said(classes, words):
    def tensors(number):
        return {"decode_head.conv_seg.weight": torch.zeros(number, 2, 1, 1)}

    with pytest.raises(ValueError, match=words):
        check_weights(OWN | tensors(3), tensors(classes))
