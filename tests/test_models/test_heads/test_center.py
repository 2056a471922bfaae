import multiprocessing
import socket
from datetime import timedelta

import pytest
import torch
from torch import distributed

from mmseg_fsr.models.heads import Center, center


def test_first_updates_by_hand():
    module = Center(2, momentum=0.75)
    module.update(torch.tensor([[[4.0, 8], [0, 0]], [[4, 8], [8, 0]]]))
    assert module.value.tolist() == [1, 1]
    module.update(torch.tensor([[3.0, -3]]))
    assert module.value.tolist() == [1.5, 0]


def test_is_a_buffer_that_travels_with_the_checkpoint():
    module = Center(3)
    module.update(torch.ones(1, 3))
    other = Center(3)
    other.load_state_dict(module.state_dict())
    assert torch.equal(other.value, module.value)
    assert module.value.any()
    assert not list(module.parameters())


def test_no_gradient_and_float32():
    module = Center(3)
    outputs = torch.ones(2, 3, dtype=torch.bfloat16, requires_grad=True)
    module.update(outputs)
    assert not module.value.requires_grad
    assert module.value.dtype == torch.float32
    assert module.value.tolist() == pytest.approx([0.1] * 3)


def test_mean_over_ranks_comes_before_the_average(monkeypatch):
    module = Center(2, momentum=0.5)

    def all_reduce(mean, op):
        assert op == "mean"
        mean.add_(torch.tensor([10.0, 0])).div_(2)  # another rank's mean: (10, 0)

    monkeypatch.setattr(center, "all_reduce", all_reduce)
    module.update(torch.tensor([[2.0, 4], [2, 0]]))
    assert module.value.tolist() == [3, 0.5]


def update_on_rank(rank, port):
    """The centre after a batch of one rank of two, whose means are 4 and 12."""
    distributed.init_process_group(
        "gloo",
        init_method=f"tcp://127.0.0.1:{port}",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=120),
    )
    try:
        module = Center(2, momentum=0.5)
        module.update(torch.full((1 + rank, 2), 4.0 + 8 * rank))
        return module.value.tolist()
    finally:
        distributed.destroy_process_group()


def update_in_child(port, queue):
    queue.put(update_on_rank(1, port))


@pytest.mark.slow
def test_two_processes_agree():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    child = context.Process(target=update_in_child, args=(port, queue))
    child.start()
    assert update_on_rank(0, port) == [4, 4]
    child.join(60)
    assert child.exitcode == 0
    assert queue.get() == [4, 4]
