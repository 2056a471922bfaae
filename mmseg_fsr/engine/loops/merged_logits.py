"""Whether an augmented test gives logits of the whole image."""

from mmengine.runner import Runner
from mmseg.models import SegTTAModel

from mmseg_fsr.engine.runner_state import undistributed_model


def require_merged_logits(runner: Runner, user: str) -> None:
    """Refuses mmseg's ``SegTTAModel``, which puts labels alone together.

    ``seg_logits`` of its samples are those of one augmented version of the image.

    Args:
        runner: The runner, with its model.
        user: What needs the logits, for the message.

    Raises:
        ValueError: If the model merges its versions as ``SegTTAModel`` does.
    """
    model = undistributed_model(runner)
    if isinstance(model, SegTTAModel) and (
        type(model).merge_preds is SegTTAModel.merge_preds
    ):
        raise ValueError(
            "tta_model.type=SegTTAModel merges labels and no logits, which "
            f"{user} needs: use FSRTTAModel, or no augmentation"
        )
