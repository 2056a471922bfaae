import pytest
import torch
import torch.nn.functional as F

from mmseg_fsr.models.pseudo_labels import present_classes
from mmseg_fsr.models.segmentors import weak_segmentor
from tests.support.new_torch import HALVES
from tests.support.tiny_segmentor import (
    NUM_CLASSES,
    SIZE,
    build_tiny,
    evaluation_samples,
    tiny_cfg,
    training_batch,
)

MAX_ITERS = 100
LOSSES = {
    "loss_cls", "loss_cls_aux", "loss_seg", "loss_energy", "loss_ptc",
    "loss_fsr_class", "loss_fsr_patch",
}  # fmt: skip
NO_DISTILLATION = dict(distill_head=None, mask_generator=None, teacher=None)
# The phases of the paper's COCO runs, shortened.
PHASES = dict(loss_seg=40, loss_energy=40, loss_ptc=60)


@pytest.fixture(autouse=True)
def _step(training_step):
    """Of the last phase; some tests set another one."""
    training_step(60, MAX_ITERS)


# ------------------------------------------------------------------ phases


def gradients(segmentor):
    return [param.grad for param in segmentor.parameters() if param.requires_grad]


@pytest.mark.parametrize(
    ("iteration", "zero", "absent"),
    [
        (39, {"loss_seg"}, {"loss_energy", "loss_ptc"}),
        (40, set(), {"loss_ptc"}),
        (59, set(), {"loss_ptc"}),
        (60, set(), set()),
    ],
)
def test_losses_of_a_phase(iteration, zero, absent, training_step):
    training_step(iteration, MAX_ITERS)
    losses = build_tiny(loss_begin=PHASES).train().loss(*training_batch())
    assert losses.keys() == LOSSES - absent
    for name, loss in losses.items():
        assert loss.isfinite()
        assert (loss.item() == 0) == (name in zero), name


def test_every_parameter_gets_a_gradient_in_every_phase(training_step):
    segmentor = build_tiny(loss_begin=PHASES).train()
    inputs, samples = training_batch()
    for iteration in (0, 19, 20, 39, 40, 59, 60, MAX_ITERS - 1):
        training_step(iteration, MAX_ITERS)
        segmentor.zero_grad(set_to_none=True)
        sum(segmentor.loss(inputs, samples).values()).backward()
        assert all(grad is not None for grad in gradients(segmentor)), iteration
        assert all(p.grad is None for p in segmentor.teacher.parameters())
        decoder = segmentor.decode_head.conv_seg.weight.grad
        assert decoder.any() == (iteration >= 40)


@pytest.mark.parametrize(("parts", "amp"), [(NO_DISTILLATION, False), ({}, True)])
def test_every_parameter_gets_a_gradient(parts, amp):
    segmentor = build_tiny(**parts).train()
    # The CAMs of view 2 come before the student's pass, without gradient.
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=amp):
        losses = segmentor.loss(*training_batch())
    sum(losses.values()).backward()
    assert all(grad is not None for grad in gradients(segmentor))
    assert segmentor.backbone.mask_token.requires_grad == (parts == {})


@pytest.mark.parametrize(
    ("counts", "number"),
    [([3, 1], 3), ([None, 1], 2)],  # as said, or counted on the CPU
)
def test_cams_of_the_images_classes(counts, number, monkeypatch):
    segmentor = build_tiny().train()
    inputs, samples = training_batch()
    for sample, count in zip(samples, counts, strict=True):
        if count is not None:
            sample.set_metainfo(dict(num_labels=count))
    generator, given = segmentor.pseudo_label_generator, []
    original = generator.pseudo_label
    monkeypatch.setattr(
        generator,
        "pseudo_label",
        lambda *args: given.append(args[1].shape[1]) or original(*args),
    )
    segmentor.loss(inputs, samples)
    assert given == [number]


def with_unknown(samples, counts=None):
    """The class of image 1 is unknown, and so is the one that image 0 lacks."""
    for sample, labels in zip(samples, ([1.0, -1, 1], [0, -1, 0]), strict=True):
        sample.gt_label.label = torch.tensor(labels)
        if counts is not None:
            sample.set_metainfo(dict(num_labels=counts[0], num_unknown=counts[1]))
    return samples


@pytest.mark.parametrize("counts", [None, (3, 1)])
def test_unknown_classes_hide_pixels_and_cells(counts, monkeypatch):
    segmentor = build_tiny().train()
    inputs, samples = training_batch()
    with_unknown(samples, counts)
    made = {}
    generator = segmentor.pseudo_label_generator
    for name in ("pseudo_label", "label"):

        def keep(*args, name=name, original=getattr(generator, name)):
            made[name] = args[-2], original(*args)
            return made[name][1]

        monkeypatch.setattr(generator, name, keep)
    losses = segmentor.loss(inputs, samples)
    assert all(loss.isfinite() for loss in losses.values())
    for cams, label in made.values():
        # Image 1 is of no known class; its class 1 comes first.
        hidden = cams[1, 0] > generator.low_thr
        assert torch.equal(label[1], torch.where(hidden, 255, 0))
        assert hidden.any()
        assert not (label == 2).any()


def test_unknown_classes_train_no_classifier():
    segmentor = build_tiny(**NO_DISTILLATION).train()
    inputs, samples = training_batch()
    losses = segmentor.loss(inputs, with_unknown(samples))
    (losses["loss_cls"] + losses["loss_cls_aux"]).backward()
    for classifier in segmentor.cam_head.children():
        grad = classifier.weight.grad
        assert not grad[1].any()
        assert grad[0].any()
        assert grad[2].any()


def test_no_label_known_still_trains_the_rest():
    segmentor = build_tiny().train()
    inputs, samples = training_batch()
    for sample in samples:
        sample.gt_label.label = torch.full((NUM_CLASSES,), -1.0)
    losses = segmentor.loss(inputs, samples)
    assert losses["loss_cls"].item() == losses["loss_cls_aux"].item() == 0
    sum(losses.values()).backward()
    assert all(grad.isfinite().all() for grad in gradients(segmentor))


def test_a_phase_for_any_loss(training_step):
    inputs, samples = training_batch()
    begin = dict.fromkeys(LOSSES, 10)
    segmentor = build_tiny(loss_begin=begin).train()
    training_step(9, MAX_ITERS)
    losses = segmentor.loss(inputs, samples)
    assert all(loss.item() == 0 for loss in losses.values())
    sum(losses.values()).backward()
    assert not any(grad.any() for grad in gradients(segmentor))
    training_step(10, MAX_ITERS)
    losses = segmentor.loss(inputs, samples)
    assert losses.keys() == LOSSES
    assert all(loss.item() != 0 for loss in losses.values())


def test_losses_that_never_weigh_anything_are_named_once(training_step, monkeypatch):
    said = []
    monkeypatch.setattr(weak_segmentor, "print_log", lambda x, **_: said.append(x))
    # The first weighs at the last step alone, the last is of no part.
    begin = dict(loss_ptc=2, loss_seg=3, loss_fsr_class=9)
    segmentor = build_tiny(loss_begin=begin, **NO_DISTILLATION).train()
    for iteration in range(2):
        training_step(iteration, 3)
        segmentor.loss(*training_batch())
    (text,) = said
    assert text.startswith("loss_begin.loss_seg=3: in a run of 3 steps this loss never")


# ------------------------------------------------------------- local crops


def record_passes(segmentor):
    """Numbers and sizes of the images that pass through student and teacher."""
    passed = []
    for name, network in (("student", segmentor), ("teacher", segmentor.teacher)):
        network.backbone.register_forward_hook(
            lambda _, inputs, __, name=name: passed.append(
                (name, len(inputs[0]), tuple(inputs[0].shape[2:]))
            )
        )
    return passed


def with_crops(inputs, number=3, size=(16, 24)):
    """The batch with crops of each image beside its two views."""
    crops = {f"view{3 + i}": torch.randn(2, 3, *size) for i in range(number)}
    return inputs | crops


def test_local_crops_enter_cer_fsr_alone():
    segmentor = build_tiny().train()
    inputs, samples = training_batch()
    crops = with_crops(inputs)
    segmentor.pseudo_label_generator.scales = (1.0,)
    noise = segmentor.mask_generator.noise(torch.zeros(2, 3, *SIZE))
    segmentor.mask_generator.noise = lambda *_: noise
    without = segmentor.loss(inputs, samples)
    losses = segmentor.loss(crops, samples)

    head, expected = segmentor.distill_head, without["loss_fsr_class"]
    target = segmentor.teacher.backbone(inputs["view1"]).cls_token
    target = segmentor.teacher.distill_head.project(target)
    # The centre is still 0, the teacher's temperature at its end.
    target = (target / 0.07).softmax(-1)
    for name in ("view3", "view4", "view5"):
        for i in range(2):
            token = segmentor.backbone(crops[name][i : i + 1]).cls_token
            student = (head.project(token[0]) / 0.1).log_softmax(-1)
            expected = expected - 0.1 * (target[i] * student).sum() / 2
    torch.testing.assert_close(losses.pop("loss_fsr_class"), expected / 4)
    for name, loss in losses.items():
        assert torch.equal(loss, without[name]), name


CROPS = ("student", 6, (16, 24))
VIEWS = [("student", 4, SIZE), ("teacher", 4, SIZE)]


@pytest.mark.parametrize(
    ("weights", "begin", "passes"),
    [
        ({}, {}, [*VIEWS, CROPS]),
        ({}, dict(loss_fsr_class=50, loss_fsr_patch=50), [("student", 2, SIZE)]),
        ({}, dict(loss_fsr_class=50), VIEWS),
        ({}, dict(loss_fsr_patch=50), [*VIEWS, CROPS]),
        # The teacher's view 1 serves cer.FSR alone, its view 2 unc.FSR alone.
        (dict(loss_class_weight=0), {}, [VIEWS[0], ("teacher", 2, SIZE)]),
        (dict(loss_patch_weight=0), {}, [VIEWS[0], ("teacher", 2, SIZE), CROPS]),
        (
            dict(loss_class_weight=0),
            dict(loss_fsr_patch=50),
            [("student", 2, SIZE)],
        ),
    ],
)
def test_passes_of_views_and_crops(weights, begin, passes, training_step):
    """Without CAMs: what the weighted losses need, once for all crops."""
    training_step(0, MAX_ITERS)
    begin = begin | dict(loss_seg=50, loss_energy=50)
    head = tiny_cfg().distill_head | weights
    segmentor = build_tiny(
        distill_head=head, loss_begin=begin, affinity_head=None
    ).train()
    passed = record_passes(segmentor)
    inputs, samples = training_batch()
    losses = segmentor.loss(with_crops(inputs), samples)
    assert passed == passes
    sum(losses.values()).backward()
    assert all(grad is not None for grad in gradients(segmentor))
    segmentor.distill_head.update_centers()
    # Without the teacher's view 2 it stays where it was.
    is_idle = passes == [("student", 2, SIZE)] or "loss_patch_weight" in weights
    assert segmentor.distill_head.patch_center.value.any() != is_idle


@pytest.mark.parametrize("idle", ["class", "patch"])
def test_a_loss_that_weighs_nothing_leaves_the_other_as_it_is(idle, training_step):
    training_step(0, MAX_ITERS)
    batch, losses = training_batch(), []
    for weights in ({}, {f"loss_{idle}_weight": 0}):
        torch.manual_seed(0)
        head = tiny_cfg().distill_head | weights
        segmentor = build_tiny(distill_head=head).train()
        losses.append(segmentor.loss(*batch))
    assert losses[1].pop(f"loss_fsr_{idle}").item() == 0
    for name, loss in losses[1].items():
        torch.testing.assert_close(loss, losses[0][name], msg=name)


@pytest.mark.parametrize("weight", [0, 0.1])
def test_class_tokens_without_a_loss_are_not_computed(weight, training_step):
    training_step(0, MAX_ITERS)
    head = tiny_cfg().distill_head | dict(loss_class_weight=weight)
    segmentor = build_tiny(distill_head=head).train()
    calls = []
    for network in (segmentor, segmentor.teacher):
        network.backbone.aggregator.register_forward_hook(lambda *_: calls.append(1))
    segmentor.loss(*training_batch())
    assert len(calls) == (2 if weight else 0)
    # DDP fails if a trainable parameter gets no gradient.
    trained = {p.requires_grad for p in segmentor.backbone.aggregator.parameters()}
    assert trained == {weight > 0}


def test_running_statistics_follow_the_views_alone(training_step):
    """Neither local crops nor the scaled and mirrored images of CAMs."""
    training_step(0, MAX_ITERS)
    channels = 64
    segmentor = build_tiny(
        backbone=dict(
            type="FSRBackbone",
            backbone=dict(
                type="ResNet",
                depth=18,
                base_channels=8,
                out_indices=(2, 3),
                strides=(1, 2, 1, 1),
                norm_cfg=dict(type="BN"),
            ),
            img_size=SIZE,
        ),
        decode_head=tiny_cfg().decode_head | dict(in_channels=channels),
        cam_head=dict(
            type="CAMHead", num_classes=3, in_channels=channels, aux_in_channels=32
        ),
        distill_head=tiny_cfg().distill_head | dict(in_channels=channels),
    ).train()
    inputs, samples = training_batch()
    state = {k: v.clone() for k, v in segmentor.state_dict().items()}
    kept = []
    for batch in (inputs, with_crops(inputs)):
        segmentor.load_state_dict(state)
        torch.manual_seed(0)
        losses = segmentor.loss(batch, samples)
        sum(losses.values()).backward()
        kept.append({k: v.clone() for k, v in segmentor.backbone.named_buffers()})
    passes = {
        int(v - state[f"backbone.{k}"])
        for k, v in kept[0].items()
        if k.endswith("num_batches_tracked")
    }
    assert passes == {1}
    assert all(torch.equal(v, kept[1][k]) for k, v in kept[0].items())
    assert all(
        m.track_running_stats for m in segmentor.modules() if hasattr(m, "running_mean")
    )


def test_refuses_local_crops_of_several_sizes(training_step):
    training_step(0, MAX_ITERS)
    inputs, samples = training_batch()
    inputs |= dict(view3=torch.randn(2, 3, 16, 16), view4=torch.randn(2, 3, 24, 16))
    with pytest.raises(ValueError, match=r"\[\(16, 16\), \(24, 16\)\].*num_views"):
        build_tiny().train().loss(inputs, samples)


def test_views_of_two_sizes_are_refused(training_step):
    training_step(0, MAX_ITERS)
    inputs, samples = training_batch()
    inputs["view2"] = inputs["view2"][..., :-8]
    with pytest.raises(ValueError, match="one size; give MultiView one pipeline"):
        build_tiny().train().loss(inputs, samples)


# -------------------------------------------------------------------- CAMs


def record_cam_passes(segmentor):
    """Numbers of images that pass for CAMs, and how far."""
    calls = []

    def record(_, inputs, options):
        if not torch.is_grad_enabled():
            calls.append((len(inputs[0]), options["up_to"]))

    segmentor.backbone.register_forward_pre_hook(record, with_kwargs=True)
    return calls


@pytest.mark.parametrize(
    ("iteration", "passes"),
    [
        (0, []),  # random masks, no segmentation, no affinity
        (20, [(4, "aux")] * 2),  # view 2 for the mask
        (40, [(4, "aux")] * 2 + [(4, "feat")] * 2),  # view 1 for the pseudo label
        (60, [(4, "aux")] * 2 + [(4, "feat")] * 2),
    ],
)
def test_cams_are_computed_where_a_loss_needs_them(iteration, passes, training_step):
    training_step(iteration, MAX_ITERS)
    segmentor = build_tiny(loss_begin=PHASES).train()
    calls = record_cam_passes(segmentor)
    segmentor.loss(*training_batch())
    assert calls == passes


def test_affinity_alone_needs_auxiliary_cams(training_step):
    training_step(10, MAX_ITERS)
    begin = dict(loss_seg=50, loss_energy=50)
    segmentor = build_tiny(loss_begin=begin, **NO_DISTILLATION).train()
    calls = record_cam_passes(segmentor)
    losses = segmentor.loss(*training_batch())
    assert calls == [(4, "aux")] * 2
    assert losses["loss_ptc"].item() != 0


@pytest.mark.parametrize("begin", [{}, dict(loss_seg=99, loss_energy=99)])
def test_reused_features_save_a_pass_and_change_no_loss(begin):
    batch = training_batch()
    losses, passed, state = [], [], None
    for reuse in (False, True):
        segmentor = build_tiny(reuse_features=reuse, loss_begin=begin).train()
        state = state or {k: v.clone() for k, v in segmentor.state_dict().items()}
        segmentor.load_state_dict(state)
        passed.append(0)

        def count(_, inputs, __):
            passed[-1] += len(inputs[0])

        segmentor.backbone.register_forward_hook(count)
        torch.manual_seed(0)
        losses.append(segmentor.loss(*batch))
    assert passed[0] - passed[1] == 2
    for name, loss in losses[0].items():
        torch.testing.assert_close(losses[1][name], loss, rtol=1e-5, atol=1e-6)


def test_without_self_distillation_view_2_is_not_looked_at():
    segmentor = build_tiny(**NO_DISTILLATION).train()
    inputs, samples = training_batch()
    losses = segmentor.loss(dict(view1=inputs["view1"]), samples)
    assert losses.keys() == LOSSES - {"loss_fsr_class", "loss_fsr_patch"}


def test_pseudo_labels_of_the_teacher(monkeypatch):
    batch = training_batch()
    asked = {}
    for source in ("student", "teacher"):
        torch.manual_seed(0)
        segmentor = build_tiny(cam_source=source).train()
        for parameter in segmentor.teacher.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
        generator = segmentor.pseudo_label_generator
        label = generator.pseudo_label

        def keep(images, cams, classes, label=label, source=source):
            asked[source] = cams
            return label(images, cams, classes)

        monkeypatch.setattr(generator, "pseudo_label", keep)
        passes = record_cam_passes(segmentor)
        losses = segmentor.loss(*batch)
        assert losses.keys() == LOSSES
        # The mask of view 2 is the student's own in either case.
        view1 = [(4, "feat")] * 2 if source == "student" else []
        assert passes == [(4, "aux")] * 2 + view1
        network = segmentor if source == "student" else segmentor.teacher
        labels = torch.stack([sample.gt_label.label for sample in batch[1]])
        expected = network.cams(batch[0]["view1"]).top
        classes = present_classes(labels)
        torch.testing.assert_close(asked[source], classes.select(expected))
    assert not torch.allclose(asked["student"], asked["teacher"], atol=0.01)


@pytest.mark.parametrize("cue", ["cam", "edge"])
def test_masks_are_chosen_by_view_2_and_its_cams(monkeypatch, cue):
    generator = tiny_cfg().mask_generator | dict(strategy=f"{cue}_strict")
    segmentor = build_tiny(mask_generator=generator).train()
    batch, asked = training_batch(), []
    choose = segmentor.mask_generator.uncertain_blocks
    monkeypatch.setattr(
        segmentor.mask_generator,
        "uncertain_blocks",
        lambda *given: asked.append(given) or choose(*given),
    )
    losses = segmentor.loss(*batch)
    assert losses.keys() == LOSSES
    assert all(loss.isfinite() for loss in losses.values())
    ((images, _, cams, _),) = asked
    assert torch.equal(images, batch[0]["view2"])
    assert (cams is None) == (cue == "edge")


def record_decoded(segmentor):
    """Logits that the segmentation loss gets, call by call."""
    decoded = []
    segmentor.decode_head.loss_decode.register_forward_pre_hook(
        lambda _, args: decoded.append(args[0].detach())
    )
    return decoded


@pytest.mark.parametrize("dtype", HALVES)
def test_step_under_autocast_is_near_float32(dtype, training_step):
    training_step(10, MAX_ITERS)
    # Wide as any real projector: the errors of a few wild cosines would not average.
    projector = dict(hidden_channels=32, bottleneck_channels=32, out_channels=64)
    head = dict(type="SelfDistillHead", in_channels=8, **projector)
    segmentor = build_tiny(distill_head=head).train()
    batch = training_batch()
    # Choices that rounding would flip: pseudo labels and labels of cells.
    segmentor.pseudo_label_generator.pseudo_label = lambda *_: torch.ones(
        2, *SIZE, dtype=torch.long
    )
    cells = torch.randint(NUM_CLASSES + 1, (2, 4, 6))
    segmentor.pseudo_label_generator.label = lambda *_: cells
    noise = segmentor.mask_generator.noise(torch.zeros(2, 3, *SIZE))
    segmentor.mask_generator.noise = lambda *_: noise
    state = {k: v.clone() for k, v in segmentor.state_dict().items()}
    decoded = record_decoded(segmentor)
    expected = segmentor.loss(*batch)
    segmentor.load_state_dict(state)
    with torch.autocast("cpu", dtype=dtype):
        actual = segmentor.loss(*batch)
    # Rounded to half precision no more than by the decoder itself.
    assert [logits.dtype for logits in decoded] == [torch.float32] * 2
    for name, loss in actual.items():
        assert loss.dtype == torch.float32, name
        reference = expected[name].item()
        assert loss.item() == pytest.approx(reference, rel=0.02), name
    sum(actual.values()).backward()
    assert all(grad.isfinite().all() for grad in gradients(segmentor))


def test_trains_a_stock_head_with_its_own_loss(training_step):
    training_step(9, 10)
    cfg = dict(type="FCNHead", in_channels=8, channels=4, num_convs=1)
    segmentor = build_tiny(decode_head=cfg | dict(num_classes=4)).train()
    losses = segmentor.loss(*training_batch())
    losses["loss_seg"].backward()
    assert losses["loss_seg"].isfinite()
    assert segmentor.decode_head.conv_seg.weight.grad.abs().sum() > 0


@torch.no_grad()
def test_corners_are_aligned_where_the_decoder_says_so():
    head = tiny_cfg().decode_head | dict(align_corners=True)
    segmentor = build_tiny(decode_head=head)
    inputs, samples = training_batch()
    decoded, images = record_decoded(segmentor), inputs["view1"]
    segmentor.train().loss(inputs, samples)
    samples = evaluation_samples(ori_shape=SIZE, masks=False)
    predicted = [x.seg_logits.data for x in segmentor.eval().predict(images, samples)]
    logits = segmentor.decode_head(segmentor.backbone(images).levels)
    expected = F.interpolate(logits, SIZE, mode="bilinear", align_corners=True)
    torch.testing.assert_close(decoded[0], expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(torch.stack(predicted), expected)
