"""The plain step with the work that the authors' program does and nothing uses.

It gives the numbers of :class:`~tests.reference.plain_fsr.PlainFSR`, with array
operations in place of loops over pixels. The wasted work:

- the projector runs on every token of both views, and in every pass for CAMs;
- CAMs of view 2 pass through the whole network, also in the random phase, and are
  computed a second time, with a pseudo label, for pictures;
- attention is written out, and its matrix kept for the backward pass;
- pixel-adaptive refinement computes its kernel anew for each image and threshold;
- the dense energy loss is computed on the CPU, also if the rest is on a GPU.

``tests/reference/compare_speed.py`` compares the package with it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .plain_fsr import MEAN, STD, PlainFSR, Weights


class PlainStep(PlainFSR):
    """One step of FSR as a straightforward program runs it."""

    def encode(
        self, w: Weights, images: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        x = F.conv2d(
            images,
            w["encoder.patch_embed.proj.weight"],
            w["encoder.patch_embed.proj.bias"],
            stride=self.patch_size,
        )
        rows, cols = x.shape[2:]
        x = x.flatten(2).transpose(1, 2)
        if mask is not None:
            x = torch.where(mask.flatten(1)[..., None], w["encoder.mask_token"], x)
        x = x + self._positions(w["encoder.pos_embed"], rows, cols).flatten(0, 1)
        return self._run_blocks(w, x)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        query, key, value = (
            x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for x in (query, key, value)
        )
        scores = query @ key.transpose(2, 3) * query.shape[-1] ** -0.5
        return (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)

    @staticmethod
    def _linear(w: Weights, name: str, x: Tensor) -> Tensor:
        return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

    @staticmethod
    def _norm(w: Weights, name: str, x: Tensor) -> Tensor:
        size = x.shape[-1:]
        return F.layer_norm(x, size, w[f"{name}.weight"], w[f"{name}.bias"], 1e-6)

    @staticmethod
    def _gelu(x: Tensor) -> Tensor:
        return F.gelu(x)

    def project_student(self, w: Weights, tokens1: Tensor, tokens2: Tensor) -> Tensor:
        return self.project(w, torch.cat([tokens1, tokens2])).chunk(2)[1]

    def class_maps(self, w: Weights, images: Tensor) -> tuple[Tensor, Tensor]:
        tokens, aux = self.encode(w, images)
        self.project(w, tokens)
        return tokens[:, 1:], aux

    def label(self, cams: Tensor, labels: Tensor) -> Tensor:
        value, best = (cams * labels[:, :, None, None]).max(1)
        result = best + 1
        result[value <= self.high_thr] = 255
        result[value <= self.low_thr] = 0
        return result

    @staticmethod
    def segmentation_loss(logits: Tensor, label: Tensor) -> Tensor:
        halves = []
        for other in (label != 0, label == 0):
            target = label.masked_fill(other, 255)
            pixels = (target != 255).sum()
            total = F.cross_entropy(logits, target, ignore_index=255, reduction="sum")
            halves.append(total / pixels.clamp(min=1))
        return 0.5 * (halves[0] + halves[1])

    @staticmethod
    def affinity(cells: Tensor) -> Tensor:
        first, second = cells[:, :, None], cells[:, None, :]
        result = (first == second).long()
        result[(first == 255) | (second == 255)] = 255
        result.diagonal(dim1=1, dim2=2).fill_(255)
        return result

    def distillation(
        self, student: Tensor, teacher: Tensor, center: Tensor, temp: float
    ) -> Tensor:
        target = ((teacher.detach() - center) / temp).softmax(-1)
        return -(target * (student / self.student_temp).log_softmax(-1)).sum(-1)

    def fsr_losses(
        self,
        student2: Tensor,
        teacher_class1: Tensor,
        teacher_patch2: Tensor,
        mask: Tensor,
        centers: tuple[Tensor, Tensor],
        temp: float,
    ) -> tuple[Tensor, Tensor]:
        class_loss = self.distillation(
            student2[:, 0], teacher_class1, centers[0], temp
        ).mean()
        patches = self.distillation(student2[:, 1:], teacher_patch2, centers[1], temp)
        masked = mask.flatten(1).to(patches)
        means = (patches * masked).sum(1) / masked.sum(1).clamp(min=1)
        return class_loss, means.mean()

    def step(
        self, student: Weights, teacher: Weights, *views, energy=None, **kwargs
    ) -> dict:
        def energy_on_the_cpu(rgb: Tensor, logits: Tensor, label: Tensor) -> Tensor:
            loss = energy(rgb.cpu(), logits.cpu(), label.cpu())
            return loss.to(logits.device)

        kwargs["energy"] = energy and energy_on_the_cpu
        out = super().step(student, teacher, *views, **kwargs)
        _, view2, labels = views
        rgb = view2 * STD.to(view2) + MEAN.to(view2)
        self.pseudo_label(rgb, self.cams(student, view2)[0], labels.to(view2))
        return out
