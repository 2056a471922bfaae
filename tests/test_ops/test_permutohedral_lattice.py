import math
from collections import defaultdict

import numpy as np
import pytest
import torch

from mmseg_fsr.ops import PermutohedralLattice, permutohedral_lattice
from mmseg_fsr.ops.permutohedral_lattice import (
    elevate,
    enclosing_simplex,
    pack_vertices,
)


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


def slow_filter_images(features: torch.Tensor, values: torch.Tensor) -> np.ndarray:
    """Filter images one by one: features (B, d, N), values (B, C, N)."""
    return np.stack(
        [
            slow_filter(points.double().numpy(), maps.double().numpy())
            for points, maps in zip(features, values, strict=True)
        ]
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


@pytest.mark.parametrize("dim", [1, 2, 3, 5, 6])
@pytest.mark.parametrize("spread", [0.3, 2.0])
def test_filter_agrees_with_a_dict_of_vertices(dim, spread):
    features = torch.randn(3, dim, 37, dtype=torch.float64) * spread
    values = torch.randn(3, 4, 37, dtype=torch.float64)
    got = PermutohedralLattice(features).filter(values)
    assert got.shape == values.shape
    want = slow_filter_images(features, values)
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)


def test_filter_agrees_with_a_dict_of_vertices_in_float32():
    features = torch.randn(2, 5, 101)
    values = torch.randn(2, 3, 101)
    got = PermutohedralLattice(features).filter(values)
    want = slow_filter_images(features, values)
    assert got.dtype == torch.float32
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (7, 13), (24, 17)])
def test_image_features_agree_with_a_dict_of_vertices(size):
    features = bilateral_image(2, *size)
    values = torch.rand(2, 3, features.shape[2], dtype=torch.float64)
    got = PermutohedralLattice(features).filter(values)
    want = slow_filter_images(features, values)
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)


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


def test_filter_is_linear_and_keeps_zeros_and_order():
    lattice = PermutohedralLattice(torch.randn(2, 5, 50, dtype=torch.float64))
    x, y = torch.randn(2, 2, 3, 50, dtype=torch.float64)
    assert lattice.filter(torch.zeros_like(x)).count_nonzero() == 0
    torch.testing.assert_close(
        lattice.filter(2 * x - y), 2 * lattice.filter(x) - lattice.filter(y)
    )
    order = [2, 0, 1]
    torch.testing.assert_close(lattice.filter(x[:, order]), lattice.filter(x)[:, order])
    assert (lattice.filter(x.abs()) >= 0).all()


def test_batch_equals_loop():
    features = torch.randn(4, 5, 60)
    features[1] = features[0]  # equal positions in two images must not mix
    features[2] += 30
    values = torch.randn(4, 3, 60)
    got = PermutohedralLattice(features).filter(values)
    want = [
        PermutohedralLattice(features[i : i + 1]).filter(values[i : i + 1])
        for i in range(4)
    ]
    torch.testing.assert_close(got, torch.cat(want), rtol=1e-6, atol=1e-6)


def test_room_for_the_most_vertices_gives_the_same(monkeypatch):
    """What runs on an accelerator: a table with rows that hold no vertex."""
    features, values = torch.randn(3, 5, 40) * 0.5, torch.randn(3, 2, 40)
    want = PermutohedralLattice(features).filter(values)
    monkeypatch.setattr(permutohedral_lattice, "table_size", len)
    got = PermutohedralLattice(features).filter(values)
    torch.testing.assert_close(got, want, rtol=0, atol=0)


def test_points_far_apart_do_not_mix_and_equal_points_add_up():
    features = torch.rand(1, 5, 1).repeat(1, 1, 3)
    features[0, :, 2] += 40
    values = torch.tensor([[[1.0, 2.0, 4.0]]])
    got = PermutohedralLattice(features).filter(values)[0, 0]
    first, last = (
        PermutohedralLattice(features[..., [i]]).filter(values[..., [i]])[0, 0, 0]
        for i in (0, 2)
    )
    torch.testing.assert_close(got, torch.stack([3 * first, 3 * first, last]))


def test_simplex_encloses_the_point():
    elevated = elevate(torch.randn(2, 5, 300, dtype=torch.float64) * 4)
    torch.testing.assert_close(
        elevated.sum(dim=1), torch.zeros(2, 300, dtype=torch.float64)
    )
    base, rank, weights = enclosing_simplex(elevated)
    assert weights.min() >= 0
    torch.testing.assert_close(weights.sum(dim=1), torch.ones_like(weights[:, 0]))
    assert base.sum(dim=1).count_nonzero() == 0
    assert (base % 6 == 0).all()
    assert (rank.sort(dim=1).values == torch.arange(6)[None, :, None]).all()
    vertices = torch.stack(
        [base + k - 6 * (rank > 5 - k).long() for k in range(6)], dim=1
    )
    torch.testing.assert_close(
        (vertices * weights.unsqueeze(2)).sum(dim=1), elevated, rtol=1e-9, atol=1e-9
    )


def test_elevation_keeps_distances_up_to_its_scale():
    features = torch.randn(1, 4, 20, dtype=torch.float64)
    elevated = elevate(features)
    torch.testing.assert_close(
        torch.cdist(elevated.mT, elevated.mT),
        torch.cdist(features.mT, features.mT) * math.sqrt(2 / 3) * 5,
    )


@pytest.mark.parametrize(("dim", "spread"), [(2, 1.0), (3, 0.2), (5, 2.0)])
def test_keys_are_equal_exactly_where_vertices_or_neighbours_are(dim, spread):
    elevated = elevate(torch.randn(2, dim, 30, dtype=torch.float64) * spread)
    base, rank, _ = enclosing_simplex(elevated)
    keys, steps, fits = pack_vertices(base, rank)
    assert bool(fits)
    vertex_of_key, key_of_vertex = {}, {}
    for image in range(2):
        for point in range(30):
            for k in range(dim + 1):
                vertex = [
                    int(base[image, i, point])
                    + k
                    - (dim + 1) * int(rank[image, i, point] > dim - k)
                    for i in range(dim + 1)
                ]
                key = int(keys[image, k, point])
                vertex = (image, *vertex)
                assert vertex_of_key.setdefault(key, vertex) == vertex
                assert key_of_vertex.setdefault(vertex, key) == key
    for (image, *vertex), key in key_of_vertex.items():
        for axis in range(dim + 1):
            ahead = [c + 1 for c in vertex]
            ahead[axis] -= dim + 1
            want = (image, *ahead)
            got = vertex_of_key.get(key + int(steps[axis]))
            assert got == (want if want in key_of_vertex else None)


@pytest.mark.parametrize("value", [1e7, 1e20, math.inf, math.nan])
def test_features_out_of_range_give_nan_not_wrong_numbers(value):
    features = torch.randn(1, 5, 20)
    features[0, :, 3] = value
    got = PermutohedralLattice(features).filter(torch.ones(1, 1, 20))
    assert got.isnan().any()


def test_coordinates_that_float32_does_not_count_give_nan():
    # The keys of one vertex take no room.
    features = torch.full((1, 2, 4), 3e7)
    assert PermutohedralLattice(features).filter(torch.ones(1, 1, 4)).isnan().all()


def test_keys_that_do_not_fit_give_nan():
    # coordinates of some 13 bits are exact, eight of them exceed 62 bits
    features = torch.randn(1, 8, 20, dtype=torch.float64) * 300
    assert PermutohedralLattice(features).filter(torch.ones(1, 1, 20)).isnan().all()


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
    assert compact._neighbours.shape[1] < roomy._neighbours.shape[1] == 2 * 60 * 6 + 1
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
