"""What every head of FSR does, as tests that each of them inherits."""

import copy

import pytest
import torch
from torch import Tensor, nn


class HeadContract:
    """Subclasses build the head and compute its losses on features of their own."""

    def build(self) -> nn.Module:
        """The head, with weights large enough to matter."""
        raise NotImplementedError

    def features(self) -> list[Tensor]:
        """What the losses depend on, random, with gradient."""
        raise NotImplementedError

    def losses(self, head: nn.Module, features: list[Tensor]) -> dict[str, Tensor]:
        """The losses of the features."""
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def _step(self, training_step):
        training_step(3, 40)

    def test_losses_are_scalars_whose_names_mmengine_sums(self):
        losses = self.losses(self.build().train(), self.features())
        assert losses
        for name, loss in losses.items():
            assert name.startswith("loss_")
            assert loss.shape == ()
            assert loss.dtype == torch.float32
            assert loss.isfinite()

    def test_the_gradient_reaches_features_and_trainable_parameters(self):
        head, features = self.build().train(), self.features()
        sum(self.losses(head, features).values()).backward()
        trained = [p for p in head.parameters() if p.requires_grad]
        for value in features + trained:
            assert value.grad.isfinite().all()
            assert value.grad.any()
        assert all(p.grad is None for p in head.parameters() if not p.requires_grad)

    def test_losses_under_autocast_are_float32_and_near(self):
        head, features = self.build().train(), self.features()
        expected = self.losses(copy.deepcopy(head), features)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            actual = self.losses(head, features)
        for name, loss in actual.items():
            assert loss.dtype == torch.float32
            assert loss.item() == pytest.approx(expected[name].item(), rel=0.1), name

    def test_a_copy_and_a_restored_head_give_the_same(self):
        head, features = self.build().train(), self.features()
        restored = self.build().train()
        restored.load_state_dict(head.state_dict())
        clone = copy.deepcopy(head)
        expected = self.losses(head, features)
        with torch.no_grad():
            for param in head.parameters():
                param.add_(1)
        for other in (clone, restored):
            for name, loss in self.losses(other, features).items():
                torch.testing.assert_close(loss, expected[name])
