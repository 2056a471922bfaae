"""Hook that draws CAMs, masks, pseudo labels and predictions during a run."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from torch.utils.data import Dataset

from mmseg_fsr.datasets.image_file import read_image
from mmseg_fsr.engine.runner_access import unwrapped_model
from mmseg_fsr.utils.random_state import kept_random_state
from mmseg_fsr.visualization import MaskedView, draw_sample, to_picture

# Of an image's labels, as the training pipeline packs them.
_COUNTS = ("num_labels", "num_unknown")


@contextlib.contextmanager
def evaluated_aside(model: nn.Module) -> Iterator[None]:
    """Evaluates a model during training, without an effect on the training.

    Inside, the model is in evaluation mode and no gradients are recorded. Afterwards
    each module has its former mode, and the random numbers of Python, NumPy and torch
    continue as if none had been drawn.
    """
    modes = [(module, module.training) for module in model.modules()]
    try:
        with kept_random_state(), torch.no_grad():
            model.eval()
            yield
    finally:
        for module, mode in modes:
            module.training = mode


@HOOKS.register_module()
class CAMVisualizationHook(Hook):
    """Draws panels of training and validation images for the visualizer.

    In training, ``panel_train`` shows the first image of the batch: view 1, its CAMs by
    class, its pseudo label and its prediction, by the network after the step in
    evaluation mode; then view 2 with the blocks that this very step masked. Uncertain
    blocks are framed once CAMs choose them; while the masks are random there are no
    frames.

    In validation, ``panel_val_<number>_<file>`` shows the first images of the data set,
    in distributed runs those of the main process: image, CAMs, pseudo label, prediction
    and ground truth. They come from the network that the loop scores: the student,
    unless ``TeacherScoringHook`` scores the teacher alone.

    A picture's step is the number of training steps done. A panel leaves out what the
    model or the data lack: view 2 without self-distillation, CAMs and pseudo label in
    validation without ``test_cfg.cams``. Only the main process draws. Weights, losses
    and random numbers of a run are the same with and without the hook.

    Args:
        interval: Training steps between two panels; 0 draws none. Defaults to 500.
        val_images: Number of images to draw in each validation; 0 draws none.
            Defaults to 4.
        max_cams: Number of an image's classes whose CAMs are drawn; the first ones, in
            the order of the data set. Defaults to 4.

    Raises:
        ValueError: If a number is negative.
    """

    def __init__(
        self, interval: int = 500, val_images: int = 4, max_cams: int = 4
    ) -> None:
        numbers = dict(interval=interval, val_images=val_images, max_cams=max_cams)
        for name, number in numbers.items():
            if number < 0:
                raise ValueError(
                    f"CAMVisualizationHook: {name}={number}, expected 0 (none) or more"
                )
        self.interval = interval
        self.val_images = val_images
        self.max_cams = max_cams

    def before_run(self, runner: Runner) -> None:
        """Checks that the model has CAMs to draw.

        Raises:
            ValueError: If the model has no ``cam_head``.
        """
        model = unwrapped_model(runner)
        if getattr(model, "cam_head", None) is None:
            raise ValueError(
                f"CAMVisualizationHook: the model {type(model).__name__} has no "
                "cam_head whose CAMs could be drawn; use WeakSegmentor or take the "
                "hook out of the config"
            )

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """Before a step that will be drawn, starts to keep the blocks that it masks."""
        if not self._draws(runner):
            return
        self._blocks = None
        generator = unwrapped_model(runner).mask_generator
        if generator is not None:
            self._listener = generator.register_forward_hook(self._keep_blocks)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Draws the first image of the batch."""
        if not self._draws(runner):
            return
        model = unwrapped_model(runner)
        if model.mask_generator is not None:
            self._listener.remove()
        with evaluated_aside(model):
            panel = self._training_panel(runner, model, data_batch)
            runner.visualizer.add_image("panel_train", panel, runner.iter + 1)

    def before_val_epoch(self, runner: Runner) -> None:
        """Starts again with the first image."""
        self._drawn = 0

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[SegDataSample] | None = None,
    ) -> None:
        """Draws predicted images until there are ``val_images``."""
        if not is_main_process():
            return
        dataset = runner.val_dataloader.dataset
        for sample in outputs[: self.val_images - self._drawn]:
            panel = draw_sample(
                read_image(sample.img_path, dataset.metainfo.get("pixel_range")),
                sample,
                **_names_and_colors(dataset),
                max_cams=self.max_cams,
            )
            # Without a slash, which the local backend would take for a folder.
            name = f"panel_val_{self._drawn:02d}_{Path(sample.img_path).stem}"
            runner.visualizer.add_image(name, panel, runner.iter)
            self._drawn += 1

    def _draws(self, runner: Runner) -> bool:
        """Whether this process draws the current step."""
        return self.every_n_train_iters(runner, self.interval) and is_main_process()

    def _keep_blocks(self, generator: nn.Module, args: tuple, mask: Tensor) -> None:
        """A forward hook that keeps the first image's masked and uncertain blocks."""
        images, grid, progress, *cams_and_labels = args
        rows, cols = generator.block_grid(tuple(images.shape[-2:]))
        masked = mask[:1, :: grid[0] // rows, :: grid[1] // cols]
        first = [None if x is None else x[:1] for x in cams_and_labels]
        uncertain = generator.uncertain_blocks(images[:1], progress, *first)
        self._blocks = masked, uncertain

    def _training_panel(
        self, runner: Runner, model: nn.Module, data_batch: dict
    ) -> np.ndarray:
        """The first image of the batch; the model is in evaluation mode."""
        shown = ["view1"] if self._blocks is None else ["view1", "view2"]
        first = dict(
            inputs={name: data_batch["inputs"][name][:1] for name in shown},
            data_samples=data_batch["data_samples"][:1],
        )
        batch = model.data_preprocessor(first, False)
        (given,) = batch["data_samples"]
        views = batch["inputs"]
        size = tuple(views["view1"].shape[-2:])
        sample = SegDataSample(
            metainfo=dict(
                {key: given.get(key) for key in _COUNTS if key in given},
                ori_shape=size,
                img_shape=size,
                pad_shape=size,
            ),
            gt_label=given.gt_label,
        )
        (sample,) = model.predict(views["view1"], [sample])
        if "cams" not in sample:
            model.add_cams(views["view1"], [sample], given.gt_label.label[None])
        pictures = {
            name: to_picture(model.data_preprocessor.denormalize(view))
            for name, view in views.items()
        }
        masked_view = None
        if self._blocks is not None:
            blocks = [None if x is None else x[0].cpu().numpy() for x in self._blocks]
            masked_view = MaskedView(pictures["view2"], *blocks)
        return draw_sample(
            pictures["view1"],
            sample,
            **_names_and_colors(runner.train_dataloader.dataset),
            max_cams=self.max_cams,
            masked_view=masked_view,
        )


def _names_and_colors(dataset: Dataset) -> dict:
    return {name: dataset.metainfo[name] for name in ("classes", "palette")}
