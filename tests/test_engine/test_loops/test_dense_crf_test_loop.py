from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.structures import BaseDataElement
from mmseg.models import SegTTAModel
from mmseg.registry import LOOPS, MODELS
from mmseg_fsr.engine.loops import DenseCRFTestLoop
from PIL import Image
from torch.utils.data import DataLoader

from mmseg_fsr.models.postprocessing import DenseCRF
from mmseg_fsr.models.segmentors import FSRTTAModel

from .late_crf import LateCRF

MODELS.register_module(module=LateCRF, force=True)


class Model:
    """Gives the samples it is asked for, and a loss where there is one."""

    def __init__(self, samples, loss=None):
        self.samples, self.loss, self.calls = samples, loss, []

    def eval(self):
        return self

    def test_step(self, data_batch):
        autocast = torch.is_autocast_enabled() or torch.is_autocast_cpu_enabled()
        self.calls.append((autocast, torch.is_grad_enabled()))
        samples = [self.samples[number] for number in data_batch]
        if self.loss is not None:
            samples.append(BaseDataElement(loss=dict(loss=torch.tensor(self.loss))))
        return samples


class Evaluator:
    def __init__(self):
        self.seen = []

    def process(self, data_samples, data_batch):
        self.seen.append(([sample.number for sample in data_samples], data_batch))

    def evaluate(self, size):
        assert sum(len(numbers) for numbers, _ in self.seen) == size
        return dict(score=1.0)


def build_loop(samples, batch_size=1, loss=None, **settings):
    hooks = []
    runner = SimpleNamespace(
        model=Model(samples, loss),
        call_hook=lambda name, **arguments: hooks.append((name, arguments)),
        hooks=hooks,
    )
    loader = DataLoader(range(len(samples)), batch_size, collate_fn=list)
    return LOOPS.build(
        dict(type="DenseCRFTestLoop", **settings),
        default_args=dict(runner=runner, dataloader=loader, evaluator=Evaluator()),
    )


def test_every_batch_is_given_on_in_order_with_what_belongs_to_it(make_sample):
    samples = [make_sample(number) for number in range(5)]
    before = [sample.seg_logits.data for sample in samples]
    loop = build_loop(samples, 2, crf=dict(type="LateCRF", max_pending=3))
    assert loop.run() == dict(score=1.0)
    batches = [[0, 1], [2, 3], [4]]
    assert loop.evaluator.seen == [(batch, batch) for batch in batches]

    names = [name for name, _ in loop.runner.hooks]
    assert names[:2] == ["before_test", "before_test_epoch"]
    assert names[-2:] == ["after_test_epoch", "after_test"]
    # Two images may wait while the next two are predicted.
    assert names[2:-2] == [
        "before_test_iter",
        "before_test_iter",
        "after_test_iter",
        "before_test_iter",
        "after_test_iter",
        "after_test_iter",
    ]
    given = [given for name, given in loop.runner.hooks if name == "after_test_iter"]
    assert [item["batch_idx"] for item in given] == [0, 1, 2]
    assert [item["data_batch"] for item in given] == batches
    outputs = [sample for item in given for sample in item["outputs"]]
    for sample, logits in zip(outputs, before, strict=True):
        assert not torch.equal(sample.seg_logits.data, logits)
    assert loop.crf.closed == 1


def test_results_are_the_engines(make_sample):
    samples = [make_sample(number) for number in range(2)]
    probs = [sample.seg_logits.data.softmax(0) for sample in samples]
    loop = build_loop(samples, crf=dict(type="DenseCRF", bi_rgb_std=50, num_iters=2))
    loop.run()
    for number, sample in enumerate(samples):
        image = torch.from_numpy(np.array(Image.open(sample.img_path))).permute(2, 0, 1)
        want = DenseCRF(bi_rgb_std=50, num_iters=2).submit(image, probs[number])
        torch.testing.assert_close(sample.seg_logits.data, want.result().log())


def test_the_engine_is_closed_when_the_run_breaks_off(make_sample):
    samples = [make_sample(0), make_sample(1, size=(3, 3))]
    loop = build_loop(samples, crf=dict(type="LateCRF"))
    with pytest.raises(ValueError, match=r"1\.png: the image has 5 x 7"):
        loop.run()
    assert loop.crf.closed == 1


@pytest.mark.parametrize("fp16", [False, True])
def test_fp16_and_losses_are_mmengines(make_sample, fp16):
    samples = [make_sample(number) for number in range(2)]
    loop = build_loop(samples, loss=0.25, fp16=fp16, crf=dict(type="LateCRF"))
    metrics = loop.run()
    assert metrics == dict(score=1.0, loss=0.25, test_loss=0.25)
    assert loop.runner.model.calls == [(fp16, False)] * 2


def test_the_papers_engine_is_the_default(make_sample):
    loop = build_loop([make_sample(0)])
    assert isinstance(loop, DenseCRFTestLoop)
    assert isinstance(loop.crf, DenseCRF)


def test_refuses_augmented_tests_that_merge_no_logits():
    loop = build_loop([])
    segmentor = torch.nn.Identity()
    segmentor.test_step = None
    loop.runner.model = SegTTAModel(module=segmentor)
    with pytest.raises(ValueError, match=r"SegTTAModel merges labels.*FSRTTAModel"):
        loop.run()
    loop.runner.model = FSRTTAModel(module=segmentor)
    assert loop.run() == dict(score=1.0)
