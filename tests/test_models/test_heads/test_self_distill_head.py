import math

import pytest
import torch
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import nn

from mmseg_fsr.models.backbones import FSRFeatures, MaskedFeatures, SelfDistillFeatures
from tests.reference.plain_fsr import PlainFSR
from tests.support.new_torch import HALVES

from .base import HeadContract

CHANNELS, OUT = 6, 7


@pytest.fixture(autouse=True)
def _step(training_step):
    training_step(3, 40)


def build(kind="SelfDistillHead", **kwargs):
    cfg = dict(
        type=kind,
        in_channels=CHANNELS,
        hidden_channels=9,
        bottleneck_channels=4,
        out_channels=OUT,
    )
    return MODELS.build(cfg | kwargs)


def lively(head):
    with torch.no_grad():
        for param in head.parameters():
            if param.requires_grad:
                param.copy_(torch.randn_like(param))
        for center in (head.class_center, head.patch_center):
            center.value.copy_(0.1 * torch.randn_like(center.value))
    return head


def features(batch=4, grid=(2, 3), requires_grad=False):
    return FSRFeatures(
        torch.randn(batch, CHANNELS, *grid),
        torch.randn(batch, CHANNELS, *grid, requires_grad=requires_grad),
        torch.randn(batch, CHANNELS, requires_grad=requires_grad),
    )


class TestContract(HeadContract):
    """The head in a WeakSegmentor."""

    kind = "SelfDistillHead"
    mask = torch.tensor([[1, 0] * 3, [0, 1] * 3, [1, 1, 1, 0, 0, 0]]).view(3, 2, 3) > 0

    def build(self):
        return lively(build(self.kind, bottleneck_channels=32, out_channels=64))

    def features(self):
        student = features(3, requires_grad=True)
        return [student.feat, student.cls_token]

    def losses(self, head, given):
        teacher = self.teacher()
        masked = MaskedFeatures(FSRFeatures(given[0], *given), self.mask, 3)
        torch.manual_seed(7)
        other = lively(build(bottleneck_channels=32, out_channels=64))
        return head.loss(masked, teacher, teacher.cls_token, other)

    def teacher(self):
        torch.manual_seed(5)
        return features(3)


class TestAuxiliaryContract(TestContract):
    """The head behind a SelfDistillBackbone, with a teacher's projector of its own."""

    kind = "SelfDistillAuxHead"

    def losses(self, head, given):
        masked = MaskedFeatures(FSRFeatures(given[0], *given), self.mask, 3)
        inputs = SelfDistillFeatures((given[0],), masked, self.teacher())
        return head.loss(inputs, [], train_cfg=dict())


def plain_losses(head, projector, student, teacher, teacher_class, mask):
    """cer.FSR and unc.FSR at step 4 of 40, before their weights."""
    plain = PlainFSR(temp_share=1 / 8)
    student, teacher = (
        torch.cat([x.cls_token[:, None], x.feat.flatten(2).mT], 1)
        for x in (student, teacher)
    )
    return plain.fsr_losses(
        head.project(student),
        projector.project(teacher_class),
        projector.project(teacher)[:, 1:],
        mask.flatten(1),
        [center.value.clone() for center in (head.class_center, head.patch_center)],
        plain.teacher_temp(4, 40),
    )


def test_masked_patches_match_obvious_loop():
    head = lively(build(loss_class_weight=0.3, loss_patch_weight=0.6))
    teacher_head = lively(build())
    student, teacher = features(requires_grad=True), features()
    teacher_class = torch.randn(4, CHANNELS)
    # 5, 2, 0 and 6 masked patches.
    mask = torch.tensor(
        [[1, 1, 1, 1, 0, 1], [0, 1, 0, 0, 1, 0], [0] * 6, [1] * 6]
    ).bool()
    centers = [c.value.clone() for c in (head.class_center, head.patch_center)]

    masked = MaskedFeatures(student, mask.view(4, 2, 3), 6)
    losses = head.loss(masked, teacher, teacher_class, teacher_head)

    class_loss, patch_loss = plain_losses(
        head, teacher_head, student, teacher, teacher_class, mask
    )
    assert losses["loss_fsr_class"].item() == pytest.approx(0.3 * class_loss.item())
    assert losses["loss_fsr_patch"].item() == pytest.approx(0.6 * patch_loss.item())
    leaves = [student.feat, student.cls_token]
    actual = torch.autograd.grad(sum(losses.values()), leaves)
    expected = torch.autograd.grad(0.3 * class_loss + 0.6 * patch_loss, leaves)
    for first, second in zip(actual, expected, strict=True):
        torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-4)
    head.update_centers()
    targets = teacher_class, teacher.feat.flatten(2).mT
    moved = PlainFSR().moved_centers(centers, *map(teacher_head.project, targets))
    torch.testing.assert_close(head.class_center.value, moved[0])
    torch.testing.assert_close(head.patch_center.value, moved[1])


def test_health_is_of_the_losses_if_it_is_asked_for():
    head, teacher_head = lively(build()), lively(build())
    student, teacher = features(), features()
    mask = torch.tensor(
        [[1, 1, 1, 1, 0, 1], [0, 1, 0, 0, 1, 0], [0] * 6, [1] * 6]
    ).bool()
    given = MaskedFeatures(student, mask.view(4, 2, 3), 6), teacher, teacher.cls_token
    head.loss(*given, teacher_head)
    assert not head.health
    head.measures_health = True
    losses = head.loss(*given, teacher_head)
    assert head.health.keys() == {"class", "patch"}
    unit = 0.1 * math.log(OUT)
    class_loss = losses["loss_fsr_class"].item() / unit
    assert head.health["class"].cross_entropy.item() == pytest.approx(class_loss)
    # The image without a masked patch counts in the mean loss alone.
    patch_loss = losses["loss_fsr_patch"].item() / unit * 4 / 3
    assert head.health["patch"].cross_entropy.item() == pytest.approx(patch_loss)


def test_no_masked_patch_at_all_gives_zero():
    head = lively(build())
    mask = torch.zeros(2, 2, 3, dtype=torch.bool)
    for max_masked in (0, 3):
        masked = MaskedFeatures(features(2, requires_grad=True), mask, max_masked)
        teacher_class = torch.randn(2, CHANNELS)
        losses = head.loss(masked, features(2), teacher_class, head)
        assert losses["loss_fsr_patch"].item() == 0
        sum(losses.values()).backward()
        assert all(p.grad.isfinite().all() for p in head.mlp.parameters())


def test_local_crops_match_obvious_loop():
    head, teacher_head = lively(build(loss_class_weight=0.3)), lively(build())
    student = features(requires_grad=True)
    masked = MaskedFeatures(student, torch.ones(4, 2, 3, dtype=torch.bool), 6)
    teacher_class = torch.randn(4, CHANNELS)
    crops = torch.randn(3, 4, CHANNELS, requires_grad=True)
    center = head.class_center.value.clone()

    losses = head.loss(
        masked, features(), teacher_class, teacher_head, crops.flatten(0, 1)
    )

    plain = PlainFSR()
    expected = 0
    for image in range(4):
        target = teacher_head.project(teacher_class[image])
        for token in (student.cls_token[image], *crops[:, image]):
            expected += plain.distillation(
                head.project(token), target, center, plain.teacher_temp(4, 40)
            )
    expected = 0.3 * expected / (4 * 4)
    assert losses["loss_fsr_class"].item() == pytest.approx(expected.item())
    leaves = [student.cls_token, crops]
    for actual, reference in zip(
        torch.autograd.grad(losses["loss_fsr_class"], leaves),
        torch.autograd.grad(expected, leaves),
        strict=True,
    ):
        torch.testing.assert_close(actual, reference, atol=1e-6, rtol=1e-4)
    # Teachers see no crop.
    head.update_centers()
    mean = teacher_head.project(teacher_class).mean(0)
    torch.testing.assert_close(head.class_center.value, 0.9 * center + 0.1 * mean)


@pytest.mark.parametrize(
    ("idle", "weight", "busy", "projected"),
    [
        ("class", "loss_class_weight", "patch", (4, 2, CHANNELS)),
        ("patch", "loss_patch_weight", "class", (4, CHANNELS)),
    ],
)
def test_what_weighs_nothing_is_not_projected(
    idle, weight, busy, projected, monkeypatch
):
    both, head = lively(build()), build(**{weight: 0})
    head.load_state_dict(both.state_dict())
    student, teacher, teacher_class = features(), features(), torch.randn(4, CHANNELS)
    mask = torch.tensor([[1, 0, 0, 0, 0, 1]]).bool().expand(4, -1).view(4, 2, 3)
    masked = MaskedFeatures(student, mask, 2)
    expected = both.loss(masked, teacher, teacher_class, both)
    if idle == "class":
        masked = masked._replace(features=student._replace(cls_token=None))
        teacher_class = None
    else:
        teacher = None
    shapes, project = [], head.project
    monkeypatch.setattr(
        head, "project", lambda tokens: shapes.append(tokens.shape) or project(tokens)
    )

    losses = head.loss(masked, teacher, teacher_class, both)

    assert losses[f"loss_fsr_{idle}"].item() == 0
    assert torch.equal(losses[f"loss_fsr_{busy}"], expected[f"loss_fsr_{busy}"])
    assert head.weighted_losses == {f"loss_fsr_{busy}"}
    assert shapes == [projected]
    before = both.get_submodule(f"{idle}_center").value.clone()
    for updated in (both, head):
        updated.update_centers()
    centers = [x.get_submodule(f"{busy}_center").value for x in (head, both)]
    assert torch.equal(*centers)
    # The centre that no loss needs stays where it was.
    assert torch.equal(head.get_submodule(f"{idle}_center").value, before)
    assert not torch.equal(both.get_submodule(f"{idle}_center").value, before)


def test_refuses_to_weigh_nothing():
    with pytest.raises(ValueError, match="loss_class_weight=0 and loss_patch_weight=0"):
        build(loss_class_weight=0, loss_patch_weight=0.0)


@pytest.mark.parametrize(
    ("kind", "in_list"),
    [
        ("SelfDistillHead", False),
        ("SelfDistillAuxHead", False),
        # mmengine's init_weights passes a list by.
        ("SelfDistillAuxHead", True),
    ],
)
def test_initial_weights_and_a_gain_fixed_at_one(kind, in_list):
    head = build(kind, hidden_channels=128, bottleneck_channels=64, out_channels=96)
    model = BaseModule()
    model.auxiliary_head = nn.ModuleList([head]) if in_list else head
    model.init_weights()
    weight = head.last_layer.parametrizations.weight
    for value in [*(head.mlp[i].weight for i in (0, 2, 4)), weight.original1]:
        assert float(value.detach().std()) == pytest.approx(0.02, rel=0.1)
    assert all(not head.mlp[i].bias.any() for i in (0, 2, 4))
    assert (weight.original0 == 1).all()
    assert not weight.original0.requires_grad
    torch.testing.assert_close(head.last_layer.weight.norm(dim=1), torch.ones(96))
    assert head.last_layer.bias is None


@pytest.mark.parametrize("dtype", HALVES)
def test_cosines_are_not_rounded_under_autocast(dtype):
    head = lively(build(in_channels=64, bottleneck_channels=64, out_channels=512))
    tokens = torch.randn(5, 64)
    with torch.no_grad(), torch.autocast("cpu", dtype):
        bottleneck = head.bottleneck(tokens)
        projected = head.project(tokens)
    assert bottleneck.dtype == projected.dtype == torch.float32
    torch.testing.assert_close(bottleneck.norm(dim=-1), torch.ones(5))
    torch.testing.assert_close(projected, head.last_layer(bottleneck).detach())
    # Half precision in the layers before: autocast was on.
    assert not torch.allclose(projected, head.project(tokens), atol=1e-5)


def test_a_token_of_zeros_is_finite_in_float16():
    # The smallest length that a vector is divided by is 0 in float16.
    head = build()
    with torch.no_grad(), torch.autocast("cpu", torch.float16):
        for layer in head.mlp:
            if isinstance(layer, torch.nn.Linear):
                layer.bias.zero_()
        assert head.project(torch.zeros(2, CHANNELS)).isfinite().all()


# ------------------------------------------------------------ auxiliary head


def views(teacher=None):
    """What a backbone returns for four images, some masked wholly, some not."""
    mask = torch.tensor(
        [[1, 0] * 3, [0, 1] * 3, [1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]]
    )
    maps = (torch.randn(4, CHANNELS, 2, 3),)
    masked = MaskedFeatures(features(requires_grad=True), mask.view(4, 2, 3).bool(), 3)
    teacher = teacher or features()
    return SelfDistillFeatures(maps, masked, teacher)


def test_auxiliary_head_distils_one_view():
    head = lively(build("SelfDistillAuxHead"))
    given = views()
    losses = head.loss(given, [], train_cfg=dict())
    assert losses.keys() == {"loss_fsr_class", "loss_fsr_patch"}
    class_loss, patch_loss = plain_losses(
        head,
        head.teacher,
        given.masked.features,
        given.teacher,
        given.teacher.cls_token,
        given.masked.mask,
    )
    assert losses["loss_fsr_class"].item() == pytest.approx(0.1 * class_loss.item())
    assert losses["loss_fsr_patch"].item() == pytest.approx(0.1 * patch_loss.item())
    # The teacher's projector is not the student's.
    tokens = given.teacher.cls_token
    assert not torch.allclose(head.project(tokens), head.teacher.project(tokens))


def test_a_step_trains_the_student_and_moves_the_centers_alone():
    head = lively(build("SelfDistillAuxHead"))
    teacher = {k: v.clone() for k, v in head.teacher.state_dict().items()}
    sum(head.loss(views(), []).values()).backward()
    trained = {k for k, p in head.named_parameters() if p.grad is not None}
    assert trained == {k for k, p in head.named_parameters() if p.requires_grad}
    assert not any(k.startswith("teacher.") for k in trained)
    head.update_centers()
    for name, value in head.teacher.state_dict().items():
        assert torch.equal(value, teacher[name]), name
    assert head.class_center.value.abs().max() > 0


def test_an_aggregator_without_a_loss_stays_in_the_graph():
    given = views()
    head = lively(build("SelfDistillAuxHead", loss_class_weight=0))
    losses = head.loss(given, [])
    assert losses["loss_fsr_class"].item() == 0
    sum(losses.values()).backward()
    assert not given.masked.features.cls_token.grad.any()
    assert given.masked.features.feat.grad.any()


def test_other_backbones_and_a_missing_teacher_are_refused():
    head = build("SelfDistillAuxHead")
    with pytest.raises(ValueError, match=r"got a tuple: .*'SelfDistillBackbone'"):
        head.loss(tuple(views()), [])
    with pytest.raises(ValueError, match="set type='SelfDistillAuxHead'"):
        build().loss(views(), [], dict())
