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
# What weights are for, as arguments.
USES = dict(
    test={}, start=dict(training=True), resume=dict(training=True, resumed=True)
)
NOT_RESUMED = [USES["test"], USES["start"]]


def without_bias():
    return {name: x for name, x in OWN.items() if name != "linear.bias"}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_own_weights_pass(use):
    check_weights(OWN, Network().state_dict(), **use)


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_other_shapes_are_refused(use):
    with pytest.raises(ValueError, match=r"linear.weight is \(5, 2\) instead of \(3"):
        check_weights(OWN, Network(width=5).state_dict(), **use)


@pytest.mark.parametrize("use", NOT_RESUMED)
def test_a_position_embedding_is_resized_while_loading(use):
    check_weights(OWN, OWN | {"pos_embed": torch.zeros(1, 9, 2)}, **use)


def test_training_may_start_from_less_or_more():
    check_weights(OWN, without_bias() | {"head.weight": torch.zeros(1)}, training=True)


def test_training_must_start_from_something_of_the_model():
    with pytest.raises(ValueError, match=r"3 tensors: linear.bias is missing"):
        check_weights(OWN, {"other.weight": torch.zeros(1)}, training=True)


def test_resumed_weights_must_match_altogether():
    for given, message in (
        (without_bias(), r"in 1 tensors: linear\.bias is"),
        (OWN | {"head.weight": torch.zeros(1)}, r"head.weight is not in the model"),
        (
            OWN | {"pos_embed": torch.zeros(1, 9, 2)},
            r"pos_embed is \(1, 9, 2\) instead",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            check_weights(OWN, given, **USES["resume"])


def test_names_five_tensors_at_most():
    given = {f"x{i}": torch.zeros(1) for i in range(9)}
    with pytest.raises(ValueError, match=r"in 12 tensors: .*; \.\.\.\. ") as error:
        check_weights(OWN, given, **USES["resume"])
    assert str(error.value).count(" is ") == 5


def test_tested_weights_must_hold_the_student():
    with pytest.raises(ValueError, match=r"in 1 tensors: linear\.bias is missing"):
        check_weights(OWN, without_bias())


def test_tested_weights_must_not_be_of_a_deeper_network():
    with pytest.raises(ValueError, match=r"1 tensors: linear\.1\.weight is not in"):
        check_weights(OWN, OWN | {"linear.1.weight": torch.zeros(1)})


def test_tested_weights_may_hold_parts_that_only_training_uses():
    more = {
        "distill_head.weight": torch.zeros(1),
        "teacher.linear.weight": OWN["linear.weight"],
    }
    check_weights(OWN, OWN | more)


def test_tested_weights_need_nothing_that_only_training_uses():
    model = Network()
    model.teacher = nn.Linear(2, 2)
    model.distill_head = nn.Linear(2, 2)
    model.auxiliary_head = nn.ModuleList([nn.Linear(2, 2)])
    model.linear.teacher = nn.Linear(2, 2)
    check_weights(model.state_dict(), OWN)


def test_resumed_weights_need_all_that_training_uses():
    model = Network()
    model.linear.teacher = nn.Linear(2, 2)
    with pytest.raises(
        ValueError, match=r"2 tensors: linear\.teacher\.bias is missing"
    ):
        check_weights(model.state_dict(), OWN, **USES["resume"])
