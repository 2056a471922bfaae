r"""Times the package's training step and the plain step in turns.

Its options are those of tools/analysis/benchmark_step.py.

Example:
    python -m tests.reference.compare_speed configs/fsr/fsr_vit-b_voc.py --repeats 3 \
        --cfg-options model.reuse_features=True
"""

import statistics
import sys
from collections.abc import Sequence

import mmengine
import torch

import mmseg_fsr
from mmseg_fsr.analysis.benchmark import (
    environment,
    markdown_table,
    time_call,
    write_and_print,
)
from mmseg_fsr.utils.training_progress import training_progress
from tests.support.project_files import load_tool

from .plain_fsr import random_weights
from .plain_step import PlainStep

tool = load_tool("analysis/benchmark_step")
HEAD = (
    "phase", "px", "batch", "labels", "classes",
    "TFLOP", "s a step", "plain, TFLOP", "plain, s", "faster",
)  # fmt: skip


class PlainTraining:
    """The plain step of a network of the same size, with optimiser and teacher."""

    def __init__(self, package) -> None:
        cfg, model, device = package.cfg, package.model, package.device
        backbone, decode_head = cfg.model.backbone, cfg.model.decode_head
        if (backbone.type, decode_head.type) != ("FSRViT", "LargeFOVHead"):
            raise ValueError(
                "the plain step knows FSRViT with LargeFOVHead, got "
                f"{backbone.type} with {decode_head.type}"
            )
        if model.distill_head is None:
            raise ValueError("the plain step has self-distillation, the config none")
        patch, distill_head = backbone.patch_size, cfg.model.distill_head
        self.method = PlainStep(
            patch_size=patch,
            num_heads=model.backbone.layers[0].attn.num_heads,
            dilation=decode_head.dilation,
            cam_scales=model.pseudo_label_generator.scales,
            block_size=cfg.model.mask_generator.block_size,
        )
        self.student = {
            name: x.to(device).requires_grad_(not name.endswith("weight_g"))
            for name, x in random_weights(
                channels=model.backbone.embed_dims,
                num_layers=model.backbone.num_layers,
                cls_depth=backbone.aggregator.depth,
                grid=backbone.img_size // patch,
                patch_size=patch,
                num_classes=model.cam_head.num_classes,
                decoder_channels=decode_head.channels,
                hidden=distill_head.hidden_channels,
                bottleneck=distill_head.bottleneck_channels,
                out=distill_head.out_channels,
            ).items()
        }
        self.teacher = {k: x.detach().clone() for k, x in self.student.items()}
        trained = [x for x in self.student.values() if x.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=6e-5)
        self.energy = model.loss_energy
        self.preprocess = model.data_preprocessor

    def __call__(self, batch: dict) -> None:
        """Runs a step on a batch of the data loader."""
        data = self.preprocess(batch, True)
        view1, view2 = data["inputs"].values()
        labels = torch.stack([x.gt_label.label for x in data["data_samples"]])
        blocks = [side // self.method.block_size for side in view2.shape[2:]]
        progress = training_progress()
        out = self.method.step(
            self.student,
            self.teacher,
            view1,
            view2,
            labels,
            noise=torch.rand(len(view2), *blocks),
            step=progress.step,
            max_iters=progress.max_iters,
            energy=self.energy,
        )
        sum(out["losses"].values()).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        with torch.no_grad():
            for name, x in self.teacher.items():
                x.lerp_(self.student[name], 1 - tool.EMA_MOMENTUM)


def compare(package, batch: dict, repeats: int) -> dict:
    """Operations and times of both steps; the first run of each is not timed."""
    row = tool.measure(package, batch, repeats=0)
    plain = PlainTraining(package)
    with tool.counted_operations() as counter:
        plain(batch)
    row["plain_operations"] = counter.get_total_flops()
    turns = [
        [time_call(package.device, lambda: step(batch)) for step in (package, plain)]  # noqa: B023
        for _ in range(repeats)
    ]
    row["seconds"], row["plain_seconds"] = map(list, zip(*turns, strict=True))
    return row


def cells(row: dict) -> list[str]:
    """A line of the table."""
    values = [row[x] for x in ("phase", "size", "batch_size", "labels", "num_classes")]
    medians = []
    for name in ("", "plain_"):
        medians.append(statistics.median(row[f"{name}seconds"]))
        operations = row[f"{name}operations"] / 1e12
        values += [f"{operations:.3g}", f"{medians[-1]:.3g}"]
    return [*values, f"{medians[1] / medians[0]:.2f}x"]


def main(argv: Sequence[str] | None = None) -> None:
    """Compares each kind of step and prints a table."""
    args = tool.parse_args(argv)
    if not args.repeats:
        sys.exit("error: --repeats: expected 1 or more")
    try:
        rows = [
            kind | compare(package, batch, args.repeats)
            for kind, package, batch in tool.steps(args)
        ]
    except ValueError as error:
        sys.exit(f"error: {error}")
    where = environment(mmengine, mmseg_fsr, device=torch.device(args.device))
    report = dict(config=args.config, environment=where, rows=rows)
    write_and_print(
        args.out, report, markdown_table(HEAD, [cells(row) for row in rows])
    )


if __name__ == "__main__":
    main()
