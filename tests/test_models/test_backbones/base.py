"""What every backbone of FSR does, as tests that each of them inherits."""

import copy

import pytest
import torch
from mmseg.registry import MODELS

from tests.support.new_torch import needs_new_torch


def build_lively(cfg: dict):
    """A backbone in evaluation mode whose weights are large enough to matter."""
    backbone = MODELS.build(cfg)
    backbone.init_weights()
    with torch.no_grad():
        for param in backbone.parameters():
            param.add_(0.2 * torch.randn_like(param))
    # mmpretrain's backbones return nothing from it.
    backbone.eval()
    return backbone


class BackboneContract:
    """Subclasses set ``cfg``, which takes images of ``size``."""

    cfg: dict
    size = (32, 48)

    @pytest.fixture
    def backbone(self):
        return build_lively(self.cfg)

    @pytest.fixture
    def images(self):
        return torch.randn(2, 3, *self.size)

    @pytest.fixture
    def mask(self, backbone):
        mask = torch.zeros(2, *backbone.grid_size(*self.size), dtype=torch.bool)
        mask[0, 0, 1] = mask[1, 1, 0] = True
        return mask

    def cell(self, backbone, row, col):
        stride = backbone.stride
        rows = slice(row * stride, (row + 1) * stride)
        return ..., rows, slice(col * stride, (col + 1) * stride)

    def test_features_are_as_large_as_the_backbone_says(self, backbone, images):
        features = backbone(images)
        aux, feat = backbone.aux_index, backbone.feat_index
        assert features.aux is features.levels[aux]
        assert features.feat is features.levels[feat]
        grid = tuple(features.feat.shape[2:])
        assert grid == backbone.grid_size(*self.size)
        assert grid == tuple(side // backbone.stride for side in self.size)
        channels = [level.shape[1] for level in features.levels]
        assert channels == [shape[0] for shape in backbone.level_shapes]
        assert features.cls_token.shape == (2, channels[feat])

    def test_no_further_than_wanted(self, backbone, images):
        whole = backbone(images)
        calls = []
        backbone.aggregator.register_forward_hook(lambda *_: calls.append(1))
        aux, feat = backbone(images, up_to="aux"), backbone(images, up_to="feat")
        assert not calls
        assert torch.equal(aux.aux, whole.aux)
        assert (aux.feat, aux.cls_token, aux.levels) == (None, None, ())
        assert torch.equal(feat.feat, whole.feat)
        assert feat.cls_token is None

    def test_an_empty_mask_is_no_mask(self, backbone, images, mask):
        for actual, expected in zip(
            backbone(images, mask & False)[:3], backbone(images)[:3], strict=True
        ):
            torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)

    def test_what_is_masked_does_not_matter(self, backbone, images, mask):
        expected = backbone(images, mask).feat
        hidden, seen = images.clone(), images.clone()
        hidden[0][self.cell(backbone, 0, 1)] = 5
        seen[0][self.cell(backbone, 1, 1)] = 5
        assert torch.equal(backbone(hidden, mask).feat, expected)
        assert not torch.allclose(backbone(seen, mask).feat, expected, atol=1e-3)
        # The next pass knows nothing of the mask.
        assert not torch.allclose(backbone(images).feat, expected, atol=1e-3)

    def test_the_mask_token_learns_from_masked_cells_alone(
        self, backbone, images, mask
    ):
        loss = backbone(images, mask & False).feat.square().sum()
        if loss.requires_grad:
            loss.backward()
        token = backbone.mask_token
        assert token.grad is None or not token.grad.any()
        backbone(images, mask).feat.square().sum().backward()
        assert token.grad.any()

    def test_masks_of_another_grid_are_refused(self, backbone, images, mask):
        for other in (mask[:1], mask[:, :1], mask.flatten(1)):
            with pytest.raises(ValueError, match=r"mask of shape .* expected \(2, "):
                backbone(images, other)

    def test_a_copy_is_independent(self, backbone, images, mask):
        clone = copy.deepcopy(backbone)
        expected = backbone(images, mask).feat
        with torch.no_grad():
            for param in clone.parameters():
                param.add_(0.5)
        assert torch.equal(backbone(images, mask).feat, expected)
        assert not torch.allclose(clone(images, mask).feat, expected)

    def test_half_precision_is_near(self, backbone, images, mask):
        expected = backbone(images, mask)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            actual = backbone(images, mask)
        for low, full in zip(actual[:3], expected[:3], strict=True):
            error = (low.float() - full).norm() / full.norm()
            assert error < 0.1

    @pytest.mark.slow
    @needs_new_torch
    @pytest.mark.parametrize(
        ("up_to", "masked"), [("aux", True), ("feat", False), ("cls_token", True)]
    )
    def test_compiles_to_one_graph(self, backbone, images, mask, up_to, masked):
        torch.compiler.reset()
        backbone.train()
        given = images, mask if masked else None, up_to
        compiled = torch.compile(backbone, backend="eager", fullgraph=True)
        torch.manual_seed(1)
        expected = backbone(*given)
        torch.manual_seed(1)
        for actual, feature in zip(compiled(*given), expected, strict=True):
            torch.testing.assert_close(actual, feature, atol=1e-5, rtol=1e-5)
