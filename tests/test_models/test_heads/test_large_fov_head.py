import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from .base import HeadContract


def build(**kwargs):
    cfg = dict(
        type="LargeFOVHead", in_channels=6, channels=5, num_classes=4, dilation=3
    )
    return MODELS.build(cfg | kwargs)


class TestContract(HeadContract):
    """With masks, as mmseg trains any decode head."""

    def build(self):
        loss = dict(type="BalancedCrossEntropyLoss")
        head = build(in_channels=16, channels=16, loss_decode=loss)
        head.init_weights()
        return head

    def features(self):
        return [torch.randn(2, 16, 4, 6, requires_grad=True)]

    def losses(self, head, features):
        mask = torch.arange(4).repeat_interleave(6).view(1, 4, 6)
        sample = SegDataSample(gt_sem_seg=PixelData(data=mask))
        losses = head.loss(features, [sample] * 2, train_cfg=dict())
        return {"loss_seg": losses["loss_seg"]}


def test_three_convolutions_without_norm_or_bias():
    head = build()
    assert {k: v.shape for k, v in head.state_dict().items()} == {
        "convs.0.conv.weight": (5, 6, 3, 3),
        "convs.1.conv.weight": (5, 5, 3, 3),
        "conv_seg.weight": (4, 5, 1, 1),
    }
    for module in head.convs:
        assert module.conv.dilation == module.conv.padding == (3, 3)
    assert head.dropout is None


def test_settings_that_would_do_nothing_are_refused():
    with pytest.raises(ValueError, match="takes no dropout_ratio, norm_cfg: leave it"):
        build(norm_cfg=dict(type="BN"), dropout_ratio=0.1)
    assert build(norm_cfg=None, conv_cfg=None).convs[0].norm is None


@pytest.mark.parametrize(("settings", "place"), [({}, 1), (dict(in_index=0), 0)])
def test_forward_decodes_the_final_map(settings, place):
    head = build(**settings).train()
    maps = [torch.randn(2, 3, 7, 9)] * 2
    maps[place] = x = torch.randn(2, 6, 7, 9)
    for conv in (head.convs[0].conv, head.convs[1].conv):
        x = F.relu(F.conv2d(x, conv.weight, padding=3, dilation=3))
    expected = F.conv2d(x, head.conv_seg.weight)
    torch.testing.assert_close(head(maps), expected)
    assert expected.shape == (2, 4, 7, 9)


def test_dilation_defaults_to_five():
    cfg = dict(type="LargeFOVHead", in_channels=6, channels=5, num_classes=4)
    assert MODELS.build(cfg).convs[0].conv.dilation == (5, 5)


def test_kaiming_fan_out_initial_weights():
    head = build(in_channels=64, channels=48, num_classes=21)
    head.init_weights()
    for weight, fan_out in (
        (head.convs[0].conv.weight, 48 * 9),
        (head.convs[1].conv.weight, 48 * 9),
        (head.conv_seg.weight, 21),
    ):
        expected = (2 / fan_out) ** 0.5
        assert float(weight.detach().std()) == pytest.approx(expected, rel=0.08)
