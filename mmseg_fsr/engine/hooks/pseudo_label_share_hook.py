"""Hook that logs how much pseudo labels decide, and warns of classes without any."""

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_fsr.engine.runner_access import logging_interval, unwrapped_model
from mmseg_fsr.models.pseudo_labels import LabelShares
from mmseg_fsr.models.segmentors import WeakSegmentor
from mmseg_fsr.utils.score_names import CLASS_SHARE, LABEL_SHARE

OBJECT_SHARE = f"{LABEL_SHARE}objects"
BACKGROUND_SHARE = f"{LABEL_SHARE}background"


@HOOKS.register_module()
class PseudoLabelShareHook(Hook):
    """Logs the shares of pixels that pseudo labels decide in training.

    At each interval of mmengine's ``LoggerHook`` the log gets means over the images
    since the last one, those of the first rank: ``label_share/objects``,
    ``label_share/background`` and ``label_share/undecided`` of all images, and
    ``class_share/<name>``, the share of the images with that label that the class gets;
    see :class:`~mmseg_fsr.models.pseudo_labels.LabelShares`. Steps before the
    segmentation loss begins have no pseudo labels and do not count.

    A class that gets no pixel at all in many images of its label is warned of, once.

    Args:
        patience: Number of images of a class without a pixel, one after the other, that
            are warned of; other images between them do not count. Defaults to 200.

    Raises:
        ValueError: If ``patience`` is not positive.
    """

    def __init__(self, patience: int = 200) -> None:
        if patience < 1:
            raise ValueError(
                f"PseudoLabelShareHook: patience={patience}, expected 1 image or more"
            )
        self.patience = patience

    def before_train(self, runner: Runner) -> None:
        """Has the segmentor count."""
        model = unwrapped_model(runner)
        if not isinstance(model, WeakSegmentor):
            return
        model.label_shares = LabelShares(model.cam_head.num_classes)
        self._images_without = [0] * model.cam_head.num_classes
        self._warned: set[str] = set()

    def after_train_iter(self, runner: Runner, batch_idx: int, *args, **kwargs) -> None:
        """Logs what was counted since the last time."""
        shares = getattr(unwrapped_model(runner), "label_shares", None)
        if shares is None or not self.every_n_inner_iters(
            batch_idx, logging_interval(runner)
        ):
            return
        report = shares.report()
        if not report.images:
            return
        update = runner.message_hub.update_scalar
        update(f"train/{OBJECT_SHARE}", report.objects)
        update(f"train/{BACKGROUND_SHARE}", report.background)
        update(f"train/{LABEL_SHARE}undecided", report.undecided)
        # A data set may name none.
        classes = runner.train_loop.dataloader.dataset.metainfo.get("classes")
        names = (classes or range(len(self._images_without) + 1))[1:]
        for k, (name, images, share) in enumerate(
            zip(names, report.class_images, report.class_shares, strict=True)
        ):
            if images:
                update(f"train/{CLASS_SHARE}{name}", share)
                self._watch(runner, k, name, images, share)
            else:
                # LoggerHook would log what it was before.
                scalars = runner.message_hub.log_scalars
                scalars.pop(f"train/{CLASS_SHARE}{name}", None)

    def _watch(
        self, runner: Runner, k: int, name: str, images: int, share: float
    ) -> None:
        """Warns of a class that gets nothing."""
        self._images_without[k] = 0 if share else self._images_without[k] + images
        if self._images_without[k] < self.patience or name in self._warned:
            return
        self._warned.add(name)
        model = unwrapped_model(runner)
        begin = model.loss_begin.get("loss_seg", 0)
        runner.logger.warning(
            f"Pseudo labels give class {name!r} no pixel: none in the last "
            f"{self._images_without[k]} images with that label, to step "
            f"{runner.iter + 1}. The decoder cannot learn it. Raise "
            f"model.loss_begin.loss_seg, now {begin}, so that the classifiers learn "
            "more before, or lower model.pseudo_label_generator.high_thr, now "
            f"{model.pseudo_label_generator.high_thr}: docs/while_it_trains.md"
        )
