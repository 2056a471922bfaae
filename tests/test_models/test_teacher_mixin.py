from types import SimpleNamespace

import pytest
import torch
from mmengine.model import BaseModule
from torch import nn

from mmseg_fsr.engine.hooks import EMATeacherHook
from mmseg_fsr.models.teacher_mixin import TeacherMixin


class Network(TeacherMixin, BaseModule):
    def __init__(self, teacher):
        super().__init__(init_cfg=dict(type="Constant", layer="Conv2d", val=1))
        self.linear = nn.Linear(2, 2)
        self.inner = Inner()
        self.add_teacher(teacher)


class Inner(BaseModule):
    inits = 0

    def init_weights(self):
        super().init_weights()
        self.inits += 1


@pytest.mark.parametrize("train_mode", [True, False])
def test_modes(train_mode):
    network = Network(dict(train_mode=train_mode))
    for mode in (True, False, True):
        assert network.train(mode) is network
        assert network.linear.training == mode
        assert network.teacher.linear.training == (mode and train_mode)
    network.eval()
    assert not network.teacher.linear.training


def test_the_teacher_is_a_copy_without_gradient_or_teacher():
    network = Network(dict(train_mode=True))
    assert network.teacher.teacher is None
    assert not any(value.requires_grad for value in network.teacher.parameters())
    assert all(value.requires_grad for value in network.linear.parameters())
    for name, value in network.linear.state_dict().items():
        assert torch.equal(network.teacher.linear.state_dict()[name], value)
    with torch.no_grad():
        network.linear.weight.add_(1)
    assert not torch.equal(network.teacher.linear.weight, network.linear.weight)


def test_initial_weights_are_the_students_alone():
    network = Network(dict(train_mode=True))
    network.init_weights()
    assert network.inner.inits == 1
    assert network.teacher.inner.inits == 0


def test_initial_weights_are_not_trained_beside_a_teacher_without_them():
    network = Network(dict(train_mode=True))
    network.init_weights()
    network.eval()
    with pytest.raises(RuntimeError, match=r"EMATeacherHook.* to custom_hooks"):
        network.train()
    EMATeacherHook().before_train(SimpleNamespace(model=network, iter=0))
    assert network.train().training


def test_without_teacher():
    network = Network(None)
    network.init_weights()
    network.train()
    assert network.teacher is None
    assert not any("teacher" in name for name in network.state_dict())


@pytest.mark.parametrize("teacher", [dict(), dict(train_mod=True)])
def test_other_settings_are_refused(teacher):
    with pytest.raises(ValueError, match="expected dict"):
        Network(teacher)
