"""High-dimensional Gaussian filtering on the permutohedral lattice.

Source: Adams, Baek and Davis, *Fast High-Dimensional Filtering Using the
Permutohedral Lattice*, Eurographics 2010.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_EMPTY = torch.iinfo(torch.int64).max
_MAX_KEY = 2.0**62
_MAX_COORDINATE = 2**24
# What pydensecrf adds to the sums that it divides by.
_TINY = 1e-20


def elevate(features: Tensor) -> Tensor:
    """Maps features onto the plane of zero coordinate sum that holds the lattice.

    Scaled so that the lattice's splat, blur and slice together amount to a Gaussian
    of unit standard deviation in feature space.

    Args:
        features: Positions, floating point (B, d, N).

    Returns:
        Elevated positions (B, d+1, N); they sum to zero over dimension 1.
    """
    dim = features.shape[1]
    inverse_std = math.sqrt(2 / 3) * (dim + 1)
    tail = torch.zeros_like(features[:, 0])
    rows = []
    for axis in reversed(range(dim)):
        scale = inverse_std / math.sqrt((axis + 1) * (axis + 2))
        scaled = features[:, axis] * scale
        rows.append(tail - (axis + 1) * scaled)
        tail = tail + scaled
    rows.append(tail)
    return torch.stack(rows[::-1], dim=1)


def enclosing_simplex(elevated: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Finds the lattice simplex around each position.

    Vertex k of the simplex is ``base[i] + k`` where ``rank[i] <= d - k`` and
    ``base[i] + k - (d + 1)`` elsewhere.

    Args:
        elevated: Elevated positions, floating point (B, d+1, N).

    Returns:
        ``base`` int64 (B, d+1, N), the vertex of remainder 0; ``rank`` int64 (B, d+1,
        N), a permutation of 0..d for each position; ``weights`` floating point (B, d+1,
        N), the barycentric coordinates of vertices 0..d, which sum to one.
    """
    corners = elevated.shape[1]
    base = torch.ceil(elevated / corners - 0.5) * corners
    residual = elevated - base
    excess = torch.round(base.sum(dim=1, keepdim=True) / corners).long()

    # rank: the place in descending order of residual, the first of equals first
    mine, other = residual.unsqueeze(2), residual.unsqueeze(1)
    index = torch.arange(corners, device=elevated.device)
    earlier = (index[None, :] < index[:, None])[..., None]
    ahead = (other > mine) | ((other == mine) & earlier)
    rank = ahead.sum(dim=2) + excess

    # the rounded point may lie off the plane: step back onto it
    wrap = ((rank < 0).long() - (rank >= corners).long()) * corners
    # the clamp changes nothing but what is not finite, which must not index memory
    rank = (rank + wrap).clamp(min=0, max=corners - 1)
    base = base + wrap
    ascending = (
        torch.zeros_like(elevated)
        .scatter(1, rank, (elevated - base) / corners)
        .flip(dims=(1,))
    )
    weights = ascending - ascending.roll(1, dims=1)
    weights[:, 0] += 1
    return base.long(), rank, weights


def pack_vertices(base: Tensor, rank: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Packs the vertices of each simplex, and their image, into one int64 each.

    The first d coordinates are the digits of a number of mixed radix, the image its
    highest digit. Each radix exceeds every difference between a vertex and a vertex
    or a vertex's neighbour, so equal keys mean equal vertices. As the packing is
    linear, a step along an axis of the lattice adds the same number to every key.

    Args:
        base: Vertices of remainder 0, int64 (B, d+1, N).
        rank: Ranks of the coordinates, int64 (B, d+1, N).

    Returns:
        ``keys`` int64 (B, d+1, N) of vertices 0..d; ``steps`` int64 (d+1,), what the
        forward neighbour along each axis adds to a key; ``fits`` bool scalar, false
        where the coordinates reach 2^24 or the keys 2^62, so that the keys of different
        vertices may coincide.
    """
    batch, corners, _ = base.shape
    dim = corners - 1
    lowest, highest = base.amin(dim=(0, 2)), base.amax(dim=(0, 2))
    exact = (lowest > -_MAX_COORDINATE).all() & (highest < _MAX_COORDINATE).all()
    # vertices lie within dim of a base, neighbours within dim of a vertex
    radix = (highest - lowest)[:dim] + 3 * dim + 1
    fits = exact & (batch * radix.double().prod() < _MAX_KEY)
    strides = F.pad(radix.cumprod(dim=0), (1, 0), value=1)
    image_stride = strides[dim].clone()
    # The last coordinate follows from the others. To assign 0 would copy it from the
    # host, which would wait for the device.
    strides[dim].zero_()

    digits = base[:, :dim] - lowest[:dim, None]
    first = (digits * strides[:dim, None]).sum(dim=1, keepdim=True)
    images = torch.arange(batch, device=base.device)[:, None, None]
    first = first + images * image_stride

    by_rank = torch.zeros_like(base).scatter(
        1, rank, strides[None, :, None].expand_as(rank)
    )
    from_highest = by_rank.flip(dims=(1,))
    wrapped = from_highest.cumsum(dim=1) - from_highest
    vertex = torch.arange(corners, device=base.device)[None, :, None]
    keys = first + vertex * strides.sum() - corners * wrapped
    steps = strides.sum() - corners * strides
    return keys, steps, fits


def table_size(row: Tensor) -> int:
    """Chooses how many vertices the lattice has room for.

    Args:
        row: Row of the vertex of each sorted key, int64 (M,), ascending.

    Returns:
        The number of vertices on the CPU; M elsewhere, the most there can be, as
        reading their number would make the host wait for the device. So it is for
        torch's fake tensors, which have no values.
    """
    known = row.device.type == "cpu" and type(row) is Tensor
    return int(row[-1]) + 1 if known else len(row)


def find_neighbours(table: Tensor, steps: Tensor) -> Tensor:
    """Finds both neighbours of each vertex along each axis of the lattice.

    Args:
        table: Keys, int64 (L+1,), ascending; the rows without a vertex, the last at
            least, hold the largest int64.
        steps: What the forward neighbour along each axis adds to a key, int64 (d+1,).

    Returns:
        Rows of the forward and the backward neighbour, int32 (d+1, L+1, 2); L, the last
        row, where the lattice has no such vertex.
    """
    last = len(table) - 1
    wanted = table + steps[:, None]
    forward = torch.searchsorted(table, wanted).clamp_(max=last)
    forward = forward.masked_fill(table[forward] != wanted, last)
    rows = torch.arange(last + 1, device=table.device).expand_as(forward)
    backward = torch.full_like(forward, last).scatter(1, forward, rows)
    backward[:, -1] = rows[:, -1]
    return torch.stack([forward, backward], dim=-1).int()


class PermutohedralLattice:
    """Approximate Gaussian filter over points in a feature space.

    ``filter`` computes, for the points i and j of one image and up to a constant
    factor, ``sum_j exp(-|f_i - f_j|^2 / 2) v_j``, in time linear in the number of
    points. The result is not normalised unless asked for: the factor falls from 0.9
    (d = 1) to 0.5 (d = 5, images). The kernel's relative error is 0.06 to 0.15
    (Frobenius norm), and it is not quite symmetric. The lattice is built once, for a
    batch of images at a time, and filters any number of values; images do not mix.

    A key holds the image and d coordinates in 62 bits: B times the product over the
    coordinates of (range + 3d + 1) must stay below 2^62, and each coordinate, about
    the feature times d + 1, below 2^24, up to which float32 counts exactly. (FSR's
    images take some 40 bits.) A lattice that exceeds this filters to NaN instead of
    silently mixing distant points; features that are not finite give NaN, too.

    Args:
        features: Positions in units of the kernel's standard deviation, float32 or
            float64 (B, d, N).
        normalized: Whether to divide the kernel, at both of its points, by the root
            of the sum of its row: ``D W D`` with ``D = diag(W 1)^(-1/2)``. Defaults to
            False.
        compact: Whether the host waits for the number of vertices also where that is
            not on the CPU, and holds no more of them. It pays where one lattice filters
            many times. Defaults to False.

    Raises:
        ValueError: If ``features`` is no floating point tensor of shape (B, d, N)
            with at least one point.

    Example:
        >>> lattice = PermutohedralLattice(torch.rand(2, 5, 100))
        >>> lattice.filter(torch.rand(2, 3, 100)).shape
        torch.Size([2, 3, 100])
    """

    @torch.no_grad()
    def __init__(
        self, features: Tensor, normalized: bool = False, compact: bool = False
    ) -> None:
        if (
            features.dim() != 3
            or features.dtype not in (torch.float32, torch.float64)
            or features.numel() == 0
        ):
            raise ValueError(
                "features must be a float32 or float64 tensor of shape (B, d, N), none"
                f" of them 0, but got {features.dtype} {tuple(features.shape)}"
            )
        self.batch, dim, self.num_points = features.shape
        corners = dim + 1
        base, rank, weights = enclosing_simplex(elevate(features))
        keys, steps, fits = pack_vertices(base, rank)

        weights = weights.transpose(1, 2).reshape(-1, corners)
        keys, order = keys.transpose(1, 2).flatten().sort(stable=True)
        row = F.pad((keys[1:] != keys[:-1]).long().cumsum(dim=0), (1, 0))
        room = int(row[-1]) + 1 if compact else table_size(row)
        starts = torch.searchsorted(row, torch.arange(room + 1, device=row.device))
        table = torch.cat([keys, keys.new_full((1,), _EMPTY)])[starts]

        self._splat_offsets = starts.int()
        self._splat_points = (order // corners).int()
        self._splat_weights = weights.flatten()[order]
        # Each vertex and its two neighbours along each axis, and what each weighs.
        vertices = torch.arange(len(table), device=row.device, dtype=torch.int32)
        vertices = vertices.expand(corners, -1).unsqueeze(-1)
        self._blur_rows = torch.cat([vertices, find_neighbours(table, steps)], dim=-1)
        self._blur_weights = weights.new_full(self._blur_rows.shape[1:], 0.5)
        self._blur_weights[:, 0] = 1
        self._slice_rows = (
            torch.empty_like(row).scatter(0, order, row).view(-1, corners).int()
        )
        gain = 1 / (1 + 2.0**-dim)
        self._slice_weights = (weights * gain).masked_fill(~fits, math.nan)
        if normalized:
            self._normalize()

    def _normalize(self) -> None:
        """Puts the roots of the kernel's row sums into the weights."""
        ones = self._slice_weights.new_ones(len(self._slice_weights), 1)
        scale = self.filter_rows(ones).add_(_TINY).rsqrt_()
        self._splat_weights *= scale.squeeze(1).index_select(0, self._splat_points)
        self._slice_weights *= scale

    @torch.no_grad()
    def filter(self, values: Tensor) -> Tensor:
        """Filters values given at the lattice's points.

        No gradient flows through; the filter is linear in ``values``.

        Args:
            values: Values (B, C, N), any real dtype.

        Returns:
            Filtered values (B, C, N) in the dtype of the lattice's features.

        Raises:
            ValueError: If ``values`` is not of shape (B, C, N) with the lattice's B
                and N.
        """
        if values.dim() != 3 or (values.shape[0], values.shape[2]) != (
            self.batch,
            self.num_points,
        ):
            raise ValueError(
                f"values must be of shape ({self.batch}, C, {self.num_points}), as the"
                f" lattice's features, but got {tuple(values.shape)}"
            )
        points = values.to(self._slice_weights.dtype).transpose(1, 2).flatten(0, 1)
        sliced = self.filter_rows(points.contiguous())
        return sliced.view(self.batch, self.num_points, -1).transpose(1, 2).contiguous()

    @torch.no_grad()
    def filter_rows(self, rows: Tensor) -> Tensor:
        """Filters values that lie as the filter works, a row a point.

        Args:
            rows: Values (B*N, C), contiguous, in the dtype of the lattice's features;
                the N points of the first image come first.

        Returns:
            Filtered values (B*N, C), memory of their own.
        """
        # embedding_bag sums weighted rows in one pass and in a fixed order; the last
        # row of the table stays zero and stands for every vertex that is not there
        table = F.embedding_bag(
            self._splat_points,
            rows,
            self._splat_offsets,
            mode="sum",
            per_sample_weights=self._splat_weights,
        )
        for neighbours in self._blur_rows:
            table = F.embedding_bag(
                neighbours, table, mode="sum", per_sample_weights=self._blur_weights
            )
        return F.embedding_bag(
            self._slice_rows,
            table,
            mode="sum",
            per_sample_weights=self._slice_weights,
        )
