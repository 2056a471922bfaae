import pytest
import torch

from mmseg_fsr.models.postprocessing import DenseCRF, dense_crf
from mmseg_fsr.models.postprocessing.dense_crf import mean_field, spatial_lattice
from mmseg_fsr.ops import PermutohedralLattice

from .scene_probs import scene_and_probs


def kernel_matrix(lattice: PermutohedralLattice) -> torch.Tensor:
    return lattice.filter_rows(torch.eye(lattice.num_points, dtype=torch.float64))


def test_mean_field_agrees_with_the_lattices_own_kernels():
    kernels = [
        (PermutohedralLattice(torch.rand(1, dim, 25).double(), normalized=True), weight)
        for dim, weight in ((2, 0.7), (5, 3.0))
    ]
    log_probs = torch.randn(25, 4, dtype=torch.float64).log_softmax(dim=1)
    kept = log_probs.clone()
    matrix = sum(weight * kernel_matrix(lattice) for lattice, weight in kernels)
    q = log_probs.softmax(dim=1)
    for _ in range(4):
        q = (log_probs + matrix @ q).softmax(dim=1)
    torch.testing.assert_close(mean_field(log_probs, kernels, 4), q)
    assert torch.equal(log_probs, kept)


def test_spatial_lattices_are_built_once_a_size(monkeypatch):
    built = []

    def counting(*arguments):
        built.append(arguments[:3])
        return spatial_lattice(*arguments)

    pairs = [scene_and_probs(0, 32, width) for width in (20, 30, 20)]
    want = [DenseCRF(num_iters=1).submit(*pair).result() for pair in pairs]
    monkeypatch.setattr(dense_crf, "spatial_lattice", counting)
    crf = DenseCRF(num_iters=1)
    got = [crf.submit(*pair).result() for pair in pairs]
    assert built == [(1, 32, 20), (1, 32, 30)]
    assert all(map(torch.equal, got, want))


def test_what_is_submitted_is_done():
    crf = DenseCRF(num_iters=1)
    assert crf.submit(*scene_and_probs(0, 32, 32)).done()
    assert crf.max_pending == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees():
    image, probs = scene_and_probs(2, 96, 72, classes=21)
    want = DenseCRF()(image[None], probs[None])
    got = DenseCRF()(image[None], probs[None].cuda())
    assert got.is_cuda
    assert (got.cpu().argmax(dim=1) == want.argmax(dim=1)).float().mean() >= 0.995
