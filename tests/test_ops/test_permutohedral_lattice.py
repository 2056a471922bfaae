import math
from collections import defaultdict

import numpy as np
import pytest
import torch

from mmseg_fsr.ops import PermutohedralLattice, permutohedral_lattice


def simplex_of(point: np.ndarray) -> tuple[list[tuple[int, ...]], np.ndarray]:
    """Vertices around one elevated point, by Conway and Sloane's rounding, and the
    barycentric coordinates, from the linear system that defines them."""
    n = len(point)
    rounded = np.array([n * math.floor(x / n + 0.5) for x in point])
    order = sorted(range(n), key=lambda i: rounded[i] - point[i])
    surplus = rounded.sum() // n
    for _ in range(surplus):
        rounded[order.pop()] -= n
    for _ in range(-surplus):
        rounded[order.pop(0)] += n
    order = sorted(range(n), key=lambda i: rounded[i] - point[i])
    vertices = []
    for k in range(n):
        vertex = rounded + k
        vertex[order[n - k :]] -= n
        vertices.append(tuple(int(c) for c in vertex))
    system = np.vstack([np.array(vertices).T, np.ones(n)])
    weights = np.linalg.lstsq(system, np.append(point, 1.0), rcond=None)[0]
    assert weights.min() > -1e-6
    return vertices, weights


def slow_filter(features: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Filter one image: features (d, N), values (C, N), vertices in a dict."""
    dim, num = features.shape
    n = dim + 1
    # rows of the rotation: 1 for the axes after, -i at i, unit columns
    basis = np.zeros((n, dim))
    for i in range(dim):
        basis[: i + 1, i] = 1
        basis[i + 1, i] = -(i + 1)
        basis[:, i] *= math.sqrt(2 / 3) * n / np.linalg.norm(basis[:, i])
    simplices = [simplex_of(basis @ features[:, p]) for p in range(num)]
    table = {}
    for p, (vertices, weights) in enumerate(simplices):
        for vertex, weight in zip(vertices, weights, strict=True):
            table[vertex] = table.get(vertex, 0) + weight * values[:, p]
    for axis in range(n):
        step = np.ones(n, dtype=int)
        step[axis] -= n
        old = defaultdict(lambda: np.zeros(len(values)), table)
        for vertex in table:
            ahead = old[tuple(int(c) for c in vertex + step)]
            behind = old[tuple(int(c) for c in vertex - step)]
            table[vertex] = old[vertex] + (ahead + behind) / 2
    return np.stack(
        [
            sum(w * table[v] for v, w in zip(*simplex, strict=True)) / (1 + 2.0**-dim)
            for simplex in simplices
        ],
        axis=1,
    )


def exact_filter(features: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """The dense Gaussian kernel that the lattice approximates."""
    distance = torch.cdist(features.mT, features.mT)
    return values @ torch.exp(-(distance**2) / 2)


def bilateral_image(batch: int, height: int, width: int) -> torch.Tensor:
    """Features (x, y, r, g, b) of smooth images with an edge, float64 (B, 5, H*W)."""
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float64),
        torch.arange(width, dtype=torch.float64),
        indexing="ij",
    )
    phase = torch.rand(batch, 3, 1, 1, dtype=torch.float64) * 6
    colour = torch.sin(x / width * 3 + y / height * 2 + phase) * 1.5
    colour = colour + 1.5 * (x > width / 2)
    position = torch.stack([x / 8, y / 8]).expand(batch, -1, -1, -1)
    return torch.cat([position, colour], dim=1).flatten(2)


def check_against_slow_filter(features, tolerance=1e-9):
    """Each image of the batch on its own; images do not mix."""
    features[1:2] = features[:1]
    values = torch.randn(len(features), 4, features.shape[2], dtype=features.dtype)
    got = PermutohedralLattice(features).filter(values)
    assert (got.shape, got.dtype) == (values.shape, features.dtype)
    want = np.stack(
        [
            slow_filter(points.double().numpy(), maps.double().numpy())
            for points, maps in zip(features, values, strict=True)
        ]
    )
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dim", [1, 2, 3, 5, 6])
@pytest.mark.parametrize("spread", [0.3, 2.0])
def test_filter_agrees_with_a_dict_of_vertices(dim, spread):
    features = torch.randn(3, dim, 37, dtype=torch.float64) * spread
    check_against_slow_filter(features)


def test_float32_agrees_with_a_dict_of_vertices():
    check_against_slow_filter(torch.randn(2, 5, 101), tolerance=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (7, 13), (24, 17)])
def test_image_features_agree_with_a_dict_of_vertices(size):
    check_against_slow_filter(bilateral_image(2, *size))


def kernels(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The lattice's kernel matrix, divided by its constant, and the exact one."""
    num = features.shape[2]
    identity = torch.eye(num, dtype=torch.float64).expand(len(features), num, num)
    got = PermutohedralLattice(features).filter(identity).mT
    want = exact_filter(features, identity)
    return got / ((got * want).sum() / want.square().sum()), want


# Relative error of the kernel matrix, measured over seeds: 0.056, 0.087 and 0.11 for
# points that fill the space (asymmetry 1e-16, 0.030 and 0.044), 0.15 for images in
# five dimensions (asymmetry 0.14): there the blur's path is broken where a vertex
# that no point touches is missing, in an order that depends on the axes'.
@pytest.mark.parametrize(
    ("dim", "num", "error", "asymmetry"),
    [(1, 200, 0.07, 1e-12), (2, 400, 0.1, 0.05), (3, 500, 0.13, 0.07)],
)
def test_kernel_approximates_the_gaussian(dim, num, error, asymmetry):
    got, want = kernels(torch.rand(2, dim, num, dtype=torch.float64) * 3)
    assert (got - want).norm() < error * want.norm()
    assert (got - got.mT).norm() < asymmetry * got.norm()


def test_kernel_of_images_approximates_the_gaussian():
    features = bilateral_image(2, 12, 16)
    got, want = kernels(features)
    assert (got - want).norm() < 0.2 * want.norm()
    assert (got - got.mT).norm() < 0.2 * got.norm()

    # filtered and normalised, a noisy step at the images' edge is as the exact one
    step = (features[:, 2] > 0.5).double().unsqueeze(2)
    values = torch.cat([torch.rand_like(step), step], dim=2)
    smooth = got @ values / got.sum(dim=2, keepdim=True)
    want = want @ values / want.sum(dim=2, keepdim=True)
    assert (smooth - want).abs().mean() < 0.02
    assert (values - want).abs().mean() > 0.1


def test_room_for_the_most_vertices_gives_the_same(monkeypatch):
    """What runs on an accelerator: a table with rows that hold no vertex."""
    features, values = torch.randn(3, 5, 40) * 0.5, torch.randn(3, 2, 40)
    want = PermutohedralLattice(features).filter(values)
    monkeypatch.setattr(permutohedral_lattice, "table_size", len)
    got = PermutohedralLattice(features).filter(values)
    torch.testing.assert_close(got, want, rtol=0, atol=0)


@pytest.mark.parametrize(
    "features",
    [
        # Float32 does not count so far; the keys of one vertex take no room.
        torch.full((1, 2, 4), 3e7),
        # Coordinates of some 13 bits are exact, eight of them exceed 62 bits.
        torch.linspace(-900, 900, 160, dtype=torch.float64).view(1, 20, 8).mT,
    ],
)
def test_keys_that_do_not_fit_give_nan(features):
    ones = torch.ones(1, 1, features.shape[2])
    assert PermutohedralLattice(features).filter(ones).isnan().all()


@pytest.mark.parametrize("value", [1e7, 1e20, math.inf, math.nan])
def test_features_out_of_range_give_nan_not_wrong_numbers(value):
    features = torch.randn(1, 5, 20)
    features[0, :, 3] = value
    got = PermutohedralLattice(features).filter(torch.ones(1, 1, 20))
    assert got.isnan().any()


def test_rows_are_filtered_as_maps_are():
    lattice = PermutohedralLattice(torch.randn(2, 3, 11))
    values = torch.rand(2, 4, 11)
    rows = values.transpose(1, 2).reshape(22, 4)
    got = lattice.filter_rows(rows).view(2, 11, 4).transpose(1, 2)
    assert torch.equal(got, lattice.filter(values))


@pytest.mark.parametrize("dim", [2, 5])
def test_normalized_kernel_is_divided_by_the_roots_of_its_row_sums(dim):
    features = torch.randn(2, dim, 31, dtype=torch.float64)
    values = torch.rand(2, 4, 31, dtype=torch.float64)
    plain = PermutohedralLattice(features)
    root = plain.filter(torch.ones_like(values[:, :1])).sqrt()
    got = PermutohedralLattice(features, normalized=True).filter(values)
    torch.testing.assert_close(got, plain.filter(values / root) / root)


def test_compact_lattice_counts_its_vertices(monkeypatch):
    features, values = torch.randn(2, 5, 60) * 0.3, torch.rand(2, 3, 60)
    # as on a device where counting makes the host wait
    monkeypatch.setattr(permutohedral_lattice, "table_size", len)
    roomy = PermutohedralLattice(features)
    compact = PermutohedralLattice(features, compact=True)
    assert compact._blur_rows.shape[1] < roomy._blur_rows.shape[1] == 2 * 60 * 6 + 1
    assert torch.equal(compact.filter(values), roomy.filter(values))


@pytest.mark.parametrize(
    "features",
    [torch.rand(5, 9), torch.rand(1, 5, 0), torch.ones(1, 5, 9, dtype=torch.long)],
)
def test_bad_features_are_refused(features):
    with pytest.raises(ValueError, match=r"features must be .*\(B, d, N\).* but got"):
        PermutohedralLattice(features)


@pytest.mark.parametrize("shape", [(1, 3, 9), (2, 3, 8), (2, 9)])
def test_bad_values_are_refused(shape):
    lattice = PermutohedralLattice(torch.rand(2, 5, 9))
    with pytest.raises(ValueError, match=r"shape \(2, C, 9\).* but got"):
        lattice.filter(torch.rand(shape))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_repeats_and_does_not_wait():
    features, values = torch.randn(2, 5, 500), torch.randn(2, 21, 500)
    want = PermutohedralLattice(features).filter(values)
    features, values = features.cuda(), values.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        first = PermutohedralLattice(features).filter(values)
        again = PermutohedralLattice(features).filter(values)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(first.cpu(), want, rtol=1e-4, atol=1e-5)
    assert torch.equal(first, again)
