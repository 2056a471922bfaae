import pytest
import torch
from mmengine.optim import CosineAnnealingLR, LinearLR, OptimWrapper, PolyLR
from torch import nn

from mmseg_fsr.engine.resumed_settings import ignored_settings, last_scheduled_step


def run(lr=0.1, betas=(0.9, 0.999), end=8, eta_min=0.0, steps=0, warm_up=True):
    """Optimiser and schedules of a run, some steps on."""
    parameter = nn.Parameter(torch.zeros(1))
    groups = [dict(params=[parameter], lr=lr), dict(params=[], lr=2 * lr)]
    wrapper = OptimWrapper(torch.optim.AdamW(groups, lr=lr, betas=betas))
    schedules = [LinearLR(wrapper, start_factor=0.5, by_epoch=False, end=2)]
    schedules *= warm_up
    schedules.append(
        CosineAnnealingLR(wrapper, eta_min=eta_min, by_epoch=False, begin=1, end=end)
    )
    for _ in range(steps):
        wrapper.step()
        for schedule in schedules:
            schedule.step()
    return wrapper, schedules


def checkpoint(**settings):
    wrapper, schedules = run(steps=3, **settings)
    return dict(
        optimizer=wrapper.state_dict(),
        param_schedulers=[schedule.state_dict() for schedule in schedules],
    )


def ignored(theirs, **settings):
    wrapper, schedules = run(**settings)
    return ignored_settings(theirs, wrapper.state_dict(), schedules)


def test_a_run_that_goes_on_ignores_nothing():
    assert ignored(checkpoint()) == []
    assert ignored({}) == []


@pytest.mark.parametrize(
    ("settings", "lines"),
    [
        (dict(lr=0.2), ["optim_wrapper.optimizer: lr 0.1, 0.2 (config: 0.2, 0.4)"]),
        (
            dict(betas=(0.8, 0.999)),
            ["optim_wrapper.optimizer: betas (0.9, 0.999) (config: (0.8, 0.999))"],
        ),
        (
            dict(end=9, eta_min=0.01),
            [
                "param_scheduler.1 (CosineAnnealingLR): T_max 7 (config: 8)",
                "param_scheduler.1 (CosineAnnealingLR): end 8 (config: 9)",
                "param_scheduler.1 (CosineAnnealingLR): eta_min 0.0 (config: 0.01)",
            ],
        ),
    ],
)
def test_what_differs_is_named_with_both_values(settings, lines):
    assert ignored(checkpoint(), **settings) == lines


def test_another_number_of_schedules_is_named():
    (first, *_) = ignored(checkpoint(), warm_up=False)
    assert first == "param_scheduler: 2 schedules (config: 1)"


def test_end_of_the_schedules():
    assert last_scheduled_step(checkpoint(end=9)) == 9
    assert last_scheduled_step({}) is None


def test_a_schedule_of_another_kind_is_named():
    wrapper, (first, _) = run(warm_up=True)
    poly = PolyLR(wrapper, power=2.0, by_epoch=False, begin=1, end=8)
    (line,) = ignored_settings(checkpoint(), wrapper.state_dict(), [first, poly])
    assert line.startswith("param_scheduler.1 (PolyLR): a kind with T_max")
    assert line.endswith("(config: power, total_iters); the kind is the config's")


def test_an_optimiser_of_another_kind_is_refused():
    sgd = OptimWrapper(torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1))
    message = r"optim_wrapper\.optimizer: .* betas.*\(config: .*momentum.*load_from"
    with pytest.raises(ValueError, match=message):
        ignored_settings(checkpoint(), sgd.state_dict(), [])
    # Another torch has other settings beside these.
    wrapper, schedules = run()
    theirs = checkpoint()
    for group in theirs["optimizer"]["param_groups"]:
        group.pop("foreach")
    assert ignored_settings(theirs, wrapper.state_dict(), schedules) == []
