"""The mean field with every pair of pixels written out, in float64."""

import numpy as np


def exact_kernel(features: list[np.ndarray]) -> np.ndarray:
    """Gaussian of all pairs of points, normalised symmetrically.

    Args:
        features: For each coordinate its value at the N points, in standard deviations.

    Returns:
        Kernel (N, N), float64.
    """
    distance = sum((f[:, None] - f[None, :]) ** 2 for f in features)
    kernel = np.exp(-distance / 2)
    root = np.sqrt(kernel.sum(axis=1))
    return kernel / root[:, None] / root[None, :]


def softmax(logits: np.ndarray) -> np.ndarray:
    exponential = np.exp(logits - logits.max(axis=0))
    return exponential / exponential.sum(axis=0)


def exact_mean_field(
    image: np.ndarray,
    probs: np.ndarray,
    num_iters: int = 10,
    pos_xy_std: float = 1,
    pos_weight: float = 1,
    bi_xy_std: float = 121,
    bi_rgb_std: float = 5,
    bi_weight: float = 4,
) -> np.ndarray:
    """Refines the probabilities of one image.

    Args:
        image: RGB, 0..255 (3, H, W).
        probs: Probabilities (C, H, W).
        num_iters: And the others: as the engines'.

    Returns:
        Refined probabilities, float64 (C, H, W).
    """
    classes, height, width = probs.shape
    y, x = (grid.ravel() for grid in np.mgrid[:height, :width].astype(np.float64))
    colours = list(image.reshape(3, -1).astype(np.float64))
    spatial = exact_kernel([x / pos_xy_std, y / pos_xy_std])
    bilateral = exact_kernel(
        [x / bi_xy_std, y / bi_xy_std, *(c / bi_rgb_std for c in colours)]
    )
    kernel = pos_weight * spatial + bi_weight * bilateral
    unary = np.log(np.maximum(probs.reshape(classes, -1).astype(np.float64), 1e-5))
    q = softmax(unary)
    for _ in range(num_iters):
        q = softmax(unary + q @ kernel)
    return q.reshape(classes, height, width)
