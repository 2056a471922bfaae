import torch
from mmseg.registry import MODELS

from mmseg_fsr.models.backbones import masked_pass
from tests.support.tiny_segmentor import SIZE, tiny_cfg


@torch.no_grad()
def test_masked_pass_masks_the_second_images_alone():
    backbone = MODELS.build(tiny_cfg().backbone)
    backbone.mask_token.normal_()
    view1, view2 = torch.randn(2, 2, 3, *SIZE)
    mask = torch.zeros(2, 4, 6, dtype=torch.bool)
    mask[0, :2, :4] = True
    plain, masked = masked_pass(backbone, view1, view2, mask)
    for actual, expected in (
        (plain, backbone(view1)),
        (masked, backbone(view2, mask=mask)),
    ):
        for found, wanted in zip(actual[:3], expected[:3], strict=True):
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(masked.feat[0], backbone(view2).feat[0])


@torch.no_grad()
def test_class_tokens_are_left_out_where_no_one_wants_them():
    backbone = MODELS.build(tiny_cfg().backbone)
    view1, view2 = torch.randn(2, 2, 3, *SIZE)
    mask = torch.rand(2, 4, 6) > 0.5
    whole = masked_pass(backbone, view1, view2, mask)
    short = masked_pass(backbone, view1, view2, mask, up_to="feat")
    for complete, part in zip(whole, short, strict=True):
        assert part.cls_token is None
        assert torch.equal(part.feat, complete.feat)
        assert torch.equal(part.aux, complete.aux)
        for level, own in zip(part.levels, (part.aux, part.feat), strict=True):
            assert torch.equal(level, own)
