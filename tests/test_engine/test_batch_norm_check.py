import pytest
import torch
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmseg.models.decode_heads import ASPPHead
from torch import nn
from torch.utils.data import DataLoader

from mmseg_fsr.engine.batch_norm_check import refuse_single_values, smallest_batch

ITEMS = range(7)


def loader(batch_size, sampler=InfiniteSampler, **settings):
    return DataLoader(ITEMS, batch_size, sampler=sampler(ITEMS), **settings)


def network(norm="BN"):
    head = ASPPHead(
        in_channels=4,
        channels=4,
        num_classes=2,
        dilations=(1, 2),
        norm_cfg=dict(type=norm),
    )
    return nn.ModuleDict(dict(decode_head=head))


def passes(model, batches, world_size=1, images=None):
    handles = refuse_single_values(model, batches, world_size)
    size = batches.batch_size if images is None else images
    model.decode_head([torch.randn(size, 4, 6, 6)])
    return handles


def test_smallest_batches():
    assert smallest_batch(loader(3)) == 3
    assert smallest_batch(loader(3, DefaultSampler)) == 1
    assert smallest_batch(loader(3, DefaultSampler, drop_last=True)) == 3
    assert smallest_batch(loader(7, DefaultSampler)) == 7


def test_one_image_and_a_pooled_branch_are_named():
    message = (
        r"^model.decode_head \(ASPPHead\): its batch norm decode_head.image_pool\S+ .*"
        r"batch_size=1: set train_dataloader.batch_size=2 .*num_groups=32\) of decode_h"
    )
    with pytest.raises(ValueError, match=message):
        passes(network(), loader(1))
    # Of several processes too, each of which normalises its own image.
    with pytest.raises(ValueError, match=r"norm_cfg=dict\(type='SyncBN'\) of decode"):
        passes(network(), loader(1), world_size=8)


def test_a_last_batch_of_one_image_is_foreseen():
    with pytest.raises(ValueError, match=r"last batch .* train_dataloader.drop_last=T"):
        passes(network(), loader(3, DefaultSampler))
    assert passes(network(), loader(2)) == []


def test_what_normalises_enough_values_passes():
    # As the configs of 8 GPUs x 1 image: over the images of all processes.
    assert refuse_single_values(network("SyncBN"), loader(1), world_size=8) == []
    passes(network().eval(), loader(1))
    assert passes(network(), loader(2)) == []


def test_nothing_is_left_on_the_layers():
    model = network().eval()
    handles = passes(model, loader(1))
    assert handles
    for handle in handles:
        handle.remove()
    passes(model.train(), loader(2))
