from mmengine.hooks import Hook
from mmengine.optim import PolyLR

from mmseg_fsr.models.heads import PTCHead
from mmseg_fsr.utils.argument_names import argument_names, registered


class First:
    def __init__(self, first, hidden=None):
        pass


class Second(First):
    def __init__(self, *rest, second=1, **more):
        super().__init__(*rest, hidden=second, **more)


class Third(Second):
    def __init__(self, third, **settings):
        super().__init__(**settings)


class Last(Third):
    def __init__(self, last):
        super().__init__(third=last)


def test_arguments_are_those_that_are_passed_on():
    assert argument_names(First) == {"first", "hidden"}
    assert argument_names(Second) == {"second", "first", "hidden"} | {"rest", "more"}
    assert argument_names(Third) >= {"third", "second", "first", "hidden"}
    # It passes nothing on.
    assert argument_names(Last) == {"last"}
    assert argument_names(Hook) == set()
    # MMEngine's scheduler takes `power` from a mixin, its range from a base.
    assert {"power", "eta_min", "begin", "end", "by_epoch"} <= argument_names(PolyLR)


def test_a_component_is_found_in_any_registry():
    assert registered("PTCHead") is PTCHead
    assert registered("PolyLR") is PolyLR
    assert registered("PTCHed") is None
