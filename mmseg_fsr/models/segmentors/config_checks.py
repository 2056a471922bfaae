"""Whether the parts of a segmentor's config fit each other."""

from collections.abc import Sequence

from torch import nn

from mmseg_fsr.models.teacher_mixin import TeacherMixin
from mmseg_fsr.utils.label_ids import check_id_settings, check_num_foreground


def check_config(segmentor: nn.Module, teacher: dict | None) -> None:
    """Refuses parts and settings that do not fit each other.

    Args:
        segmentor: A ``WeakSegmentor`` with all its parts but the teacher.
        teacher: Its setting of that name.

    Raises:
        ValueError: Naming the settings, their values and what is expected.
    """
    _check_parts(segmentor, teacher)
    _check_settings(segmentor, teacher)
    _check_classes(segmentor)
    _check_levels(segmentor)


def _check_parts(segmentor: nn.Module, teacher: dict | None) -> None:
    """Refuses parts without a place here, and an incomplete self-distillation."""
    if segmentor.with_neck or segmentor.with_auxiliary_head:
        raise ValueError(
            f"{type(segmentor).__name__} takes no neck and no auxiliary_head: its "
            "backbone gives both feature maps, and cam_head has the auxiliary "
            "classifier"
        )
    if not hasattr(segmentor.data_preprocessor, "denormalize"):
        raise ValueError(
            f"data_preprocessor is a {type(segmentor.data_preprocessor).__name__}: "
            "expected MultiViewSegDataPreProcessor, whose images can be denormalised"
        )
    needed = dict(
        distill_head=segmentor.distill_head,
        mask_generator=segmentor.mask_generator,
        teacher=teacher,
    )
    missing = [name for name, part in needed.items() if part is None]
    if 0 < len(missing) < len(needed):
        raise ValueError(
            f"{' and '.join(missing)} missing: self-distillation needs distill_head, "
            "mask_generator and teacher; give all or none"
        )
    if isinstance(segmentor.distill_head, TeacherMixin):
        raise ValueError(
            f"distill_head is a {type(segmentor.distill_head).__name__}, which is for "
            "auxiliary_head: here the segmentor's teacher has the projector; set "
            "type='SelfDistillHead'"
        )
    head = segmentor.decode_head
    check_id_settings("decode_head", ignore_index=head.ignore_index)
    if getattr(head, "sampler", None) is not None:
        raise ValueError(
            f"decode_head.sampler is a {type(head.sampler).__name__}, which "
            f"{type(segmentor).__name__} would not ask: leave it out, as all decided "
            "pixels of a pseudo label train the decoder"
        )
    losses = head.loss_decode
    if isinstance(losses, nn.ModuleList):
        raise ValueError(
            f"decode_head.loss_decode is a list of {len(losses)}: expected one loss, "
            "which the pseudo labels train the decoder with"
        )


def _check_settings(segmentor: nn.Module, teacher: dict | None) -> None:
    """Refuses unknown names in ``loss_begin``, and an unknown ``cam_source``."""
    unknown = set(segmentor.loss_begin) - set(segmentor.LOSSES)
    if unknown:
        raise ValueError(
            f"loss_begin names {sorted(unknown)}: expected some of {segmentor.LOSSES}"
        )
    source = segmentor.cam_source
    if source not in ("student", "teacher"):
        raise ValueError(f"cam_source={source!r}: expected 'student' or 'teacher'")
    if source == "teacher" and (teacher is None or segmentor.reuse_features):
        raise ValueError(
            "cam_source='teacher' needs a teacher, and reuse_features=False: the "
            "student's features do not give the teacher's CAMs"
        )


def _check_classes(segmentor: nn.Module) -> None:
    """Compares the numbers of classes of decoder and classifiers."""
    head, num_foreground = segmentor.decode_head, segmentor.cam_head.num_classes
    check_num_foreground(f"cam_head.num_classes={num_foreground}", num_foreground)
    if head.num_classes != num_foreground + 1:
        raise ValueError(
            f"decode_head.num_classes={head.num_classes} and cam_head.num_classes="
            f"{num_foreground}: expected one more in the decode head, the background"
        )
    if head.out_channels != head.num_classes:
        raise ValueError(
            f"decode_head.out_channels={head.out_channels} for num_classes="
            f"{head.num_classes}: expected as many, as the background is a class like "
            "the others; leave out_channels out, also of two classes"
        )


def _check_levels(segmentor: nn.Module) -> None:
    """Compares channels and cells of the parts with the backbone's levels."""
    backbone, cam_head = segmentor.backbone, segmentor.cam_head
    shapes = backbone.level_shapes
    given = (
        f"{type(backbone).__name__} gives levels of shape "
        f"{', '.join(' x '.join(map(str, shape)) for shape in shapes)}"
    )
    aux, feat = shapes[backbone.aux_index][0], shapes[backbone.feat_index][0]
    channels = {
        "decode_head.in_channels": _decoded_channels(segmentor.decode_head, shapes),
        "cam_head.in_channels": (cam_head.top_classifier.in_channels, feat),
        "cam_head.aux_in_channels": (cam_head.aux_classifier.in_channels, aux),
    }
    if segmentor.distill_head is not None:
        projector = segmentor.distill_head.mlp[0]
        channels["distill_head.in_channels"] = (projector.in_features, feat)
    wrong = [
        f"{name}={number}, expected {expected}"
        for name, (number, expected) in channels.items()
        if number != expected
    ]
    if wrong:
        raise ValueError(f"{'; '.join(wrong)}: {given}")
    generator = segmentor.mask_generator
    if generator is not None and generator.block_size % backbone.stride:
        raise ValueError(
            f"mask_generator.block_size={generator.block_size}: expected a multiple of "
            f"{backbone.stride}, the pixels per cell of the final map; {given}"
        )


def _decoded_channels(head: nn.Module, shapes: Sequence[tuple]) -> tuple:
    """Channels that a decode head takes, and those of the levels that it chooses."""
    indices = [head.in_index] if isinstance(head.in_index, int) else head.in_index
    if any(not -len(shapes) <= i < len(shapes) for i in indices):
        raise ValueError(
            f"decode_head.in_index={head.in_index}: expected an index of the "
            f"{len(shapes)} levels of the backbone, of shapes {list(shapes)}"
        )
    channels = [shapes[i][0] for i in indices]
    if head.input_transform == "multiple_select":
        return list(head.in_channels), channels
    return head.in_channels, sum(channels)
