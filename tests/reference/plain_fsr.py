"""One step of FSR written the plain way: slow, obvious, one thing after the other.

Written from the description of the method alone, with the weights by the authors'
names of parameters (``encoder.blocks.0.attn.qkv.weight``). It is what the tests
compare the package with, so it shares no code with it. In float64 where the weights
are.
"""

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = dict[str, Tensor]

MEAN = torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)
STD = torch.tensor([58.395, 57.12, 57.375]).view(3, 1, 1)


@dataclass(frozen=True)
class PlainFSR:
    """The numbers of the method; the defaults are the paper's for VOC."""

    patch_size: int = 16
    num_heads: int = 12
    dilation: int = 5
    aux_layer: int = -3
    cam_scales: tuple[float, ...] = (1.0, 0.5, 1.5)
    low_thr: float = 0.25
    high_thr: float = 0.7
    block_size: int = 64
    mask_ratio: float = 0.4
    mask_low_thr: float = 0.2
    mask_high_thr: float = 0.7
    student_temp: float = 0.1
    temp_start: float = 0.04
    temp_end: float = 0.07
    temp_share: float = 1 / 8
    center_momentum: float = 0.9
    loss_weights: dict[str, float] = field(
        default_factory=lambda: dict(
            cls=1.0, cls_aux=1.0, seg=0.1, ptc=0.2, fsr_class=0.1, fsr_patch=0.1
        )
    )

    # ---------------------------------------------------------------- network

    def encode(
        self, w: Weights, images: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Tokens (B, 1 + N, C), class token first, and auxiliary ones (B, N, C)."""
        rows = images.shape[2] // self.patch_size
        cols = images.shape[3] // self.patch_size
        kernel = w["encoder.patch_embed.proj.weight"].flatten(1)
        bias = w["encoder.patch_embed.proj.bias"]
        positions = self._positions(w["encoder.pos_embed"], rows, cols)
        batch = []
        for b in range(len(images)):
            tokens = []
            for row in range(rows):
                for col in range(cols):
                    top, left = row * self.patch_size, col * self.patch_size
                    patch = images[
                        b, :, top : top + self.patch_size, left : left + self.patch_size
                    ]
                    token = kernel @ patch.flatten() + bias
                    if mask is not None and mask[b, row, col]:
                        token = w["encoder.mask_token"][0]
                    tokens.append(token + positions[row, col])
            batch.append(torch.stack(tokens))
        return self._run_blocks(w, torch.stack(batch))

    def _run_blocks(self, w: Weights, x: Tensor) -> tuple[Tensor, Tensor]:
        """The network after the patch embedding, of tokens (B, N, C)."""
        depth = 1 + max(int(k.split(".")[2]) for k in w if "encoder.blocks." in k)
        aux = None
        for i in range(depth):
            x = self._block(w, f"encoder.blocks.{i}.", x)
            if i == self.aux_layer % depth:
                aux = x

        cls_token = w["encoder.cls_token"].expand(len(x), 1, -1)
        cls_depth = 1 + max(int(k.split(".")[2]) for k in w if "cls_blocks." in k)
        for i in range(cls_depth):
            cls_token = self._class_block(w, f"encoder.cls_blocks.{i}.", cls_token, x)
        return self._norm(w, "encoder.norm", torch.cat([cls_token, x], 1)), aux

    @staticmethod
    def _positions(pos_embed: Tensor, rows: int, cols: int) -> Tensor:
        """Position of each patch (rows, cols, C); the class token's is left out."""
        side = math.isqrt(pos_embed.shape[1] - 1)
        grid = pos_embed[0, 1:].view(1, side, side, -1).permute(0, 3, 1, 2)
        if (side, side) != (rows, cols):
            grid = F.interpolate(
                grid, size=(rows, cols), mode="bicubic", align_corners=False
            )
        return grid[0].permute(1, 2, 0)

    @staticmethod
    def _linear(w: Weights, name: str, x: Tensor) -> Tensor:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    @staticmethod
    def _norm(w: Weights, name: str, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        variance = (centred**2).mean(-1, keepdim=True)
        return (
            centred / (variance + 1e-6).sqrt() * w[f"{name}.weight"]
            + (w[f"{name}.bias"])
        )

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Softmax attention, head by head."""
        width = query.shape[-1] // self.num_heads
        heads = []
        for i in range(self.num_heads):
            q, k, v = (x[..., i * width : (i + 1) * width] for x in (query, key, value))
            scores = (q @ k.transpose(1, 2)) / math.sqrt(width)
            heads.append(scores.softmax(-1) @ v)
        return torch.cat(heads, -1)

    @staticmethod
    def _gelu(x: Tensor) -> Tensor:
        return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))

    def _mlp(self, w: Weights, name: str, x: Tensor) -> Tensor:
        hidden = self._gelu(self._linear(w, f"{name}.fc1", x))
        return self._linear(w, f"{name}.fc2", hidden)

    def _block(self, w: Weights, name: str, x: Tensor) -> Tensor:
        qkv = self._linear(w, f"{name}attn.qkv", self._norm(w, f"{name}norm1", x))
        width = x.shape[-1]
        attended = self._attend(
            qkv[..., :width], qkv[..., width : 2 * width], qkv[..., 2 * width :]
        )
        x = x + self._linear(w, f"{name}attn.proj", attended)
        return x + self._mlp(w, f"{name}mlp", self._norm(w, f"{name}norm2", x))

    def _class_block(
        self, w: Weights, name: str, cls_token: Tensor, patches: Tensor
    ) -> Tensor:
        query = self._norm(w, f"{name}norm1", cls_token)
        patches = self._norm(w, f"{name}norm1", patches)
        attended = self._attend(
            self._linear(w, f"{name}attn.q", query),
            self._linear(w, f"{name}attn.k", patches),
            self._linear(w, f"{name}attn.v", patches),
        )
        cls_token = cls_token + self._linear(w, f"{name}attn.proj", attended)
        return cls_token + self._mlp(
            w, f"{name}mlp", self._norm(w, f"{name}norm2", cls_token)
        )

    def to_map(self, tokens: Tensor, images: Tensor) -> Tensor:
        """Patch tokens (B, N, C) as a map (B, C, h, w)."""
        rows = images.shape[2] // self.patch_size
        cols = images.shape[3] // self.patch_size
        return tokens.transpose(1, 2).reshape(len(tokens), -1, rows, cols)

    def class_logits(self, w: Weights, tokens: Tensor, aux: Tensor) -> tuple:
        """Logits (B, K) of the top and of the auxiliary classifier."""
        top = tokens[:, 1:].max(1).values @ w["top_classifier.weight"].flatten(1).T
        return top, aux.max(1).values @ w["aux_classifier.weight"].flatten(1).T

    def decode(self, w: Weights, features: Tensor) -> Tensor:
        """Decoder logits (B, K + 1, h, w) of a map (B, C, h, w)."""
        for name in ("conv6", "conv7"):
            features = F.conv2d(
                features,
                w[f"decoder.{name}.weight"],
                padding=self.dilation,
                dilation=self.dilation,
            ).clamp(min=0)
        return F.conv2d(features, w["decoder.conv8.weight"])

    def project(self, w: Weights, tokens: Tensor) -> Tensor:
        """Projected tokens (..., D)."""
        x = tokens
        for i in (0, 2, 4):
            if i:
                x = self._gelu(x)
            x = self._linear(w, f"projector.mlp.{i}", x)
        x = x / x.norm(dim=-1, keepdim=True)
        direction = w["projector.last_layer.weight_v"]
        direction = direction / direction.norm(dim=1, keepdim=True)
        return x @ (w["projector.last_layer.weight_g"] * direction).T

    def project_student(self, w: Weights, tokens1: Tensor, tokens2: Tensor) -> Tensor:
        """Projected tokens of the masked view 2; no loss needs those of view 1."""
        return self.project(w, tokens2)

    # ------------------------------------------------------- CAMs and labels

    def class_maps(self, w: Weights, images: Tensor) -> tuple[Tensor, Tensor]:
        """Patch tokens (B, N, C) of the top and of the auxiliary classifier."""
        tokens, aux = self.encode(w, images)
        return tokens[:, 1:], aux

    @torch.no_grad()
    def cams(self, w: Weights, images: Tensor) -> tuple[Tensor, Tensor]:
        """Multi-scale top and auxiliary CAMs (B, K, H, W)."""
        height, width = images.shape[-2:]
        totals = [0, 0]
        for scale in self.cam_scales:
            scaled = resize(images, (int(height * scale), int(width * scale)))
            pairs = [[], []]
            for mirrored in (False, True):
                batch = scaled.flip(3) if mirrored else scaled
                tokens = self.class_maps(w, batch)
                for i, (x, name) in enumerate(zip(tokens, ("top", "aux"), strict=True)):
                    kernel = w[f"{name}_classifier.weight"]
                    maps = F.conv2d(self.to_map(x, batch), kernel).clamp(min=0)
                    maps = resize(maps, (height, width))
                    pairs[i].append(maps.flip(3) if mirrored else maps)
            for i in (0, 1):
                totals[i] = totals[i] + torch.maximum(*pairs[i])
        for maps in totals:
            for b in range(len(maps)):
                for k in range(maps.shape[1]):
                    maps[b, k] -= maps[b, k].min()
                    maps[b, k] /= maps[b, k].max() + 1e-5
        return tuple(totals)

    def label(self, cams: Tensor, labels: Tensor) -> Tensor:
        """Two-threshold labels (B, h, w) of CAMs (B, K, h, w)."""
        result = torch.zeros(len(cams), *cams.shape[2:], dtype=torch.long)
        for b in range(len(cams)):
            for y in range(cams.shape[2]):
                for x in range(cams.shape[3]):
                    values = cams[b, :, y, x] * labels[b]
                    value, best = float(values.max()), int(values.argmax())
                    result[b, y, x] = best + 1
                    if value <= self.high_thr:
                        result[b, y, x] = 255
                    if value <= self.low_thr:
                        result[b, y, x] = 0
        return result

    @torch.no_grad()
    def pseudo_label(self, rgb: Tensor, cams: Tensor, labels: Tensor) -> Tensor:
        """Refined labels (B, H, W); ``rgb`` is 0..255, not normalised."""
        height, width = rgb.shape[-2:]
        half = (height // 2, width // 2)
        result = []
        for b in range(len(rgb)):
            image = rgb[b].clamp(0, 255).to(torch.uint8).to(cams) / 255
            image = resize(image[None], half)[0]
            classes = [0] + [k + 1 for k in range(labels.shape[1]) if labels[b, k] > 0]
            runs = []
            for threshold in (self.low_thr, self.high_thr):
                background = torch.full((1, height, width), threshold).to(cams)
                maps = resize(torch.cat([background, cams[b]])[None], half)[0]
                maps = refine(image, maps[classes].softmax(0))
                winners = resize(maps[None], (height, width))[0].argmax(0)
                runs.append(torch.tensor(classes).to(winners)[winners])
            low, high = runs
            merged = torch.full_like(high, 255)
            merged[high > 0] = high[high > 0]
            merged[(low == 0) & (high == 0)] = 0
            result.append(merged)
        return torch.stack(result)

    def mask(
        self, noise: Tensor, aux_cams: Tensor | None, labels: Tensor, images: Tensor
    ) -> Tensor:
        """Masked patches (B, h, w); without CAMs random blocks.

        ``noise`` (B, bh, bw) ranks the blocks of equal standing, largest first.
        """
        height, width = images.shape[-2:]
        rows, cols = height // self.patch_size, width // self.patch_size
        block = self.block_size // self.patch_size
        mask = torch.zeros(len(noise), rows, cols, dtype=torch.bool)
        for b in range(len(noise)):
            ranked = []
            for y in range(height // self.block_size):
                for x in range(width // self.block_size):
                    uncertain = False
                    if aux_cams is not None:
                        value = aux_cams[b, :, y * self.block_size, x * self.block_size]
                        value = float((value * labels[b]).max())
                        uncertain = self.mask_low_thr < value < self.mask_high_thr
                    ranked.append((uncertain, float(noise[b, y, x]), y, x))
            ranked.sort(reverse=True)
            count = math.ceil(round(self.mask_ratio * len(ranked), 6))
            for _, _, y, x in ranked[:count]:
                mask[b, y * block : (y + 1) * block, x * block : (x + 1) * block] = True
        return mask.to(images.device)

    # ------------------------------------------------------------------ losses

    def teacher_temp(self, step: int, max_iters: int) -> float:
        """Teacher's temperature at a step, counted from 1."""
        count = int(self.temp_share * max_iters)
        if step > count:
            return self.temp_end
        return float(torch.linspace(self.temp_start, self.temp_end, count)[step - 1])

    @staticmethod
    def classification_loss(logits: Tensor, labels: Tensor) -> Tensor:
        """Multi-label soft margin, mean over classes and images."""
        labels = labels.to(logits)
        probability = logits.sigmoid()
        log_likelihood = labels * probability.log() + (1 - labels) * (
            (1 - probability).log()
        )
        return -log_likelihood.mean()

    @staticmethod
    def segmentation_loss(logits: Tensor, label: Tensor) -> Tensor:
        """Half the mean over background and half the mean over foreground pixels."""
        log_prob = logits.log_softmax(1)
        kinds = {"background": [], "foreground": []}
        for b, y, x in (label != 255).nonzero().tolist():
            k = int(label[b, y, x])
            kind = "background" if k == 0 else "foreground"
            kinds[kind].append(-log_prob[b, k, y, x])
        zero = logits.sum() * 0
        halves = [torch.stack(v).mean() if v else zero for v in kinds.values()]
        return 0.5 * (halves[0] + halves[1])

    @staticmethod
    def affinity(cells: Tensor) -> Tensor:
        """1 same label, 0 different, 255 ignored, of labels (B, N): (B, N, N)."""
        result = torch.zeros(len(cells), cells.shape[1], cells.shape[1]).long()
        for b in range(len(cells)):
            for i in range(cells.shape[1]):
                for j in range(cells.shape[1]):
                    first, second = int(cells[b, i]), int(cells[b, j])
                    if i == j or 255 in (first, second):
                        result[b, i, j] = 255
                    else:
                        result[b, i, j] = int(first == second)
        return result

    @staticmethod
    def affinity_loss(tokens: Tensor, affinity: Tensor) -> Tensor:
        """Patch token contrast of tokens (B, N, C)."""
        sums = [tokens.sum() * 0, tokens.sum() * 0]
        counts = [0, 0]
        for b in range(len(tokens)):
            unit = tokens[b] / tokens[b].norm(dim=1, keepdim=True)
            cosine = (unit @ unit.T).abs()
            for kind in (0, 1):
                pairs = affinity[b] == kind
                sums[kind] = sums[kind] + cosine[pairs].sum()
                counts[kind] += int(pairs.sum())
        return 0.5 * (1 - sums[1] / (counts[1] + 1)) + 0.5 * sums[0] / (counts[0] + 1)

    def distillation(
        self, student: Tensor, teacher: Tensor, center: Tensor, temp: float
    ) -> Tensor:
        """Cross-entropy of one projected token (D,)."""
        target = ((teacher.detach() - center) / temp).softmax(0)
        return -(target * (student / self.student_temp).log_softmax(0)).sum()

    def step(
        self,
        student: Weights,
        teacher: Weights,
        view1: Tensor,
        view2: Tensor,
        labels: Tensor,
        noise: Tensor | None = None,
        step: int = 1,
        max_iters: int = 1,
        centers: tuple[Tensor, Tensor] | None = None,
        mask: Tensor | None = None,
        pseudo_label: Tensor | None = None,
        energy=None,
    ) -> dict:
        """One training step.

        ``mask`` and ``pseudo_label``, where given, replace what the step would
        choose; ``energy(rgb, logits, label)`` is the dense energy loss with its
        weight, 0 where left out.

        Returns:
            ``losses`` by name, weighted, and what led to them.
        """
        out = {}
        labels = labels.to(view1)
        out["cams"], out["aux_cams"] = self.cams(student, view1)
        if mask is None:
            aux2 = self.cams(student, view2)[1]
            random_phase = step <= max_iters // 5
            mask = self.mask(noise, None if random_phase else aux2, labels, view2)
        out["mask"] = mask

        out["tokens1"], out["aux_tokens1"] = self.encode(student, view1)
        out["tokens2"], _ = self.encode(student, view2, mask)
        with torch.no_grad():
            out["teacher1"], _ = self.encode(teacher, view1)
            out["teacher2"], _ = self.encode(teacher, view2)

        out["top_logits"], out["aux_logits"] = self.class_logits(
            student, out["tokens1"], out["aux_tokens1"]
        )
        losses = {
            "cls": self.classification_loss(out["top_logits"], labels),
            "cls_aux": self.classification_loss(out["aux_logits"], labels),
        }

        rgb = view1 * STD.to(view1) + MEAN.to(view1)
        if pseudo_label is None:
            pseudo_label = self.pseudo_label(rgb, out["cams"], labels)
        out["pseudo_label"] = pseudo_label
        feature_map = self.to_map(out["tokens1"][:, 1:], view1)
        out["seg_logits"] = self.decode(student, feature_map)
        full = resize(out["seg_logits"], view1.shape[-2:])
        losses["seg"] = self.segmentation_loss(full, pseudo_label)

        out["cells"] = self.label(
            resize(out["aux_cams"], feature_map.shape[-2:]), labels
        )
        losses["ptc"] = self.affinity_loss(
            out["tokens1"][:, 1:], self.affinity(out["cells"].flatten(1))
        )

        out["student_project2"] = self.project_student(
            student, out["tokens1"], out["tokens2"]
        )
        with torch.no_grad():
            out["teacher_project1"] = self.project(teacher, out["teacher1"])
            out["teacher_project2"] = self.project(teacher, out["teacher2"])
        if centers is None:
            zero = torch.zeros_like(out["teacher_project1"][0, 0])
            centers = zero, zero
        losses["fsr_class"], losses["fsr_patch"] = self.fsr_losses(
            out["student_project2"],
            out["teacher_project1"][:, 0],
            out["teacher_project2"][:, 1:],
            mask,
            centers,
            self.teacher_temp(step, max_iters),
        )
        out["centers"] = self.moved_centers(
            centers, out["teacher_project1"][:, 0], out["teacher_project2"][:, 1:]
        )
        out["losses"] = {
            f"loss_{name}": self.loss_weights[name] * loss
            for name, loss in losses.items()
        }
        if energy is not None:
            out["losses"]["loss_energy"] = energy(rgb, full, pseudo_label)
        return out

    def fsr_losses(
        self,
        student2: Tensor,
        teacher_class1: Tensor,
        teacher_patch2: Tensor,
        mask: Tensor,
        centers: tuple[Tensor, Tensor],
        temp: float,
    ) -> tuple[Tensor, Tensor]:
        """cer.FSR and unc.FSR of projected tokens, not weighted."""
        class_losses, patch_losses = [], []
        for b in range(len(student2)):
            class_losses.append(
                self.distillation(student2[b, 0], teacher_class1[b], centers[0], temp)
            )
            patches = [
                self.distillation(
                    student2[b, 1 + i], teacher_patch2[b, i], centers[1], temp
                )
                for i in range(teacher_patch2.shape[1])
                if mask[b].flatten()[i]
            ]
            zero = student2.sum() * 0
            patch_losses.append(torch.stack(patches).mean() if patches else zero)
        return torch.stack(class_losses).mean(), torch.stack(patch_losses).mean()

    def moved_centers(
        self,
        centers: tuple[Tensor, Tensor],
        teacher_class1: Tensor,
        teacher_patch2: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Class and patch centre (D,) after a batch."""
        means = teacher_class1.mean(0), teacher_patch2.flatten(0, 1).mean(0)
        return tuple(
            center * self.center_momentum + mean * (1 - self.center_momentum)
            for center, mean in zip(centers, means, strict=True)
        )

    @torch.no_grad()
    def infer(self, w: Weights, images: Tensor, scales: tuple[float, ...]) -> Tensor:
        """Multi-scale, mirrored logits (B, K + 1, H, W)."""
        height, width = images.shape[-2:]
        best = None
        for scale in scales:
            scaled = resize(images, (int(height * scale), int(width * scale)))
            total = 0
            for mirrored in (False, True):
                batch = scaled.flip(3) if mirrored else scaled
                tokens, _ = self.encode(w, batch)
                logits = self.decode(w, self.to_map(tokens[:, 1:], batch))
                logits = resize(logits, (height, width))
                total = total + (logits.flip(3) if mirrored else logits)
            best = total if best is None else torch.maximum(best, total)
        return best


def resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, align_corners=False."""
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)


def refine(
    image: Tensor,
    maps: Tensor,
    iterations: int = 10,
    dilations: tuple[int, ...] = (1, 2, 4, 8, 12, 24),
    w1: float = 0.3,
    w2: float = 0.01,
) -> Tensor:
    """Pixel-adaptive refinement of maps (C, h, w) by one image (3, h, w) in 0..1."""
    height, width = image.shape[-2:]
    rows, cols = torch.arange(height), torch.arange(width)

    def neighbour(x: Tensor, dy: int, dx: int) -> Tensor:
        return x[:, (rows + dy).clamp(0, height - 1)][
            :, :, (cols + dx).clamp(0, width - 1)
        ]

    offsets = [
        (d * y, d * x)
        for d in dilations
        for y in (-1, 0, 1)
        for x in (-1, 0, 1)
        if (y, x) != (0, 0)
    ]
    colors = torch.stack([neighbour(image, dy, dx) for dy, dx in offsets])
    spread = colors.std(0) + 1e-8
    distances = torch.tensor([math.sqrt(dy**2 + dx**2) for dy, dx in offsets]).to(image)
    colour_score = -(((colors - image).abs() / spread / w1) ** 2).mean(1)
    position_score = -((distances / (distances.std() + 1e-8) / w1) ** 2)
    kernel = colour_score.softmax(0) + w2 * position_score.softmax(0)[:, None, None]
    for _ in range(iterations):
        maps = sum(
            neighbour(maps, dy, dx) * weight
            for (dy, dx), weight in zip(offsets, kernel, strict=True)
        )
    return maps


def random_weights(
    channels: int,
    num_layers: int,
    cls_depth: int,
    grid: int,
    patch_size: int,
    num_classes: int,
    decoder_channels: int,
    hidden: int,
    bottleneck: int,
    out: int,
) -> Weights:
    """A random network, lively enough that its CAMs differ from place to place."""
    w = {
        "encoder.cls_token": torch.randn(1, 1, channels),
        "encoder.pos_embed": 0.7 * torch.randn(1, 1 + grid**2, channels),
        "encoder.mask_token": torch.randn(1, channels),
        "encoder.patch_embed.proj.weight": torch.randn(
            channels, 3, patch_size, patch_size
        )
        / patch_size,
        "encoder.patch_embed.proj.bias": 0.1 * torch.randn(channels),
    }

    def add_linear(name: str, inputs: int, outputs: int) -> None:
        w[f"{name}.weight"] = torch.randn(outputs, inputs) / inputs**0.5
        w[f"{name}.bias"] = 0.1 * torch.randn(outputs)

    def add_norm(name: str) -> None:
        w[f"{name}.weight"] = 1 + 0.1 * torch.randn(channels)
        w[f"{name}.bias"] = 0.1 * torch.randn(channels)

    for kind, depth, parts in (
        ("blocks", num_layers, (("qkv", 3),)),
        ("cls_blocks", cls_depth, (("q", 1), ("k", 1), ("v", 1))),
    ):
        for i in range(depth):
            block = f"encoder.{kind}.{i}"
            add_norm(f"{block}.norm1")
            for part, times in parts:
                add_linear(f"{block}.attn.{part}", channels, times * channels)
            add_linear(f"{block}.attn.proj", channels, channels)
            add_norm(f"{block}.norm2")
            add_linear(f"{block}.mlp.fc1", channels, 4 * channels)
            add_linear(f"{block}.mlp.fc2", 4 * channels, channels)
    add_norm("encoder.norm")
    w["decoder.conv6.weight"] = torch.randn(decoder_channels, channels, 3, 3) / 10
    w["decoder.conv7.weight"] = (
        torch.randn(decoder_channels, decoder_channels, 3, 3) / 5
    )
    w["decoder.conv8.weight"] = torch.randn(num_classes + 1, decoder_channels, 1, 1) / 2
    add_linear("projector.mlp.0", channels, hidden)
    add_linear("projector.mlp.2", hidden, hidden)
    add_linear("projector.mlp.4", hidden, bottleneck)
    w["projector.last_layer.weight_g"] = torch.ones(out, 1)
    w["projector.last_layer.weight_v"] = torch.randn(out, bottleneck)
    for name in ("top", "aux"):
        w[f"{name}_classifier.weight"] = torch.randn(num_classes, channels, 1, 1) / 5
    return w


def moved(w: Weights, by: float = 0.05) -> Weights:
    """A network near another, as a teacher is near its student."""
    return {
        name: x if name.endswith("weight_g") else x + by * torch.randn_like(x)
        for name, x in w.items()
    }
