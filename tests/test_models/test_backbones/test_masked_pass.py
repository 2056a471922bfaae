import torch
from mmseg.registry import MODELS

from mmseg_fsr.models.backbones import masked_pass
from tests.test_models.test_segmentors.tiny_segmentor import SIZE, tiny_cfg


@torch.no_grad()
def test_the_second_half_is_masked_where_the_generator_says():
    backbone = MODELS.build(tiny_cfg().backbone)
    backbone.mask_token.normal_()
    generator = MODELS.build(
        dict(type="UncertaintyMaskGenerator", block_size=16, strategy="cam_strict")
    )
    view1, view2 = torch.randn(2, 2, 3, *SIZE)
    uncertain = torch.zeros(2, 2, 3, dtype=torch.bool)
    uncertain[0, 0, :2] = True
    plain, masked = masked_pass(
        backbone, generator, torch.cat([view1, view2]), uncertain
    )
    mask = torch.zeros(2, 4, 6, dtype=torch.bool)
    mask[0, :2, :4] = True
    assert torch.equal(masked.mask, mask)
    # Of ceil(0.4 * 6) = 3 blocks of 4 cells each.
    assert masked.max_masked == 12
    for actual, expected in (
        (plain, backbone(view1)),
        (masked.features, backbone(view2, mask=mask)),
    ):
        for found, wanted in zip(actual[:3], expected[:3], strict=True):
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(masked.features.feat[0], backbone(view2).feat[0])


@torch.no_grad()
def test_class_tokens_are_left_out_where_no_one_wants_them():
    backbone = MODELS.build(tiny_cfg().backbone)
    generator = MODELS.build(dict(type="UncertaintyMaskGenerator", block_size=16))
    noise = torch.rand(2, 2, 3)
    generator.noise = lambda *_: noise
    views = torch.randn(4, 3, *SIZE)
    whole = masked_pass(backbone, generator, views)
    short = masked_pass(backbone, generator, views, up_to="feat")
    for all_of_it, part in zip(
        (whole[0], whole[1].features), (short[0], short[1].features), strict=True
    ):
        assert part.cls_token is None
        assert torch.equal(part.feat, all_of_it.feat)
        assert torch.equal(part.aux, all_of_it.aux)
        assert len(part.levels) == 2
