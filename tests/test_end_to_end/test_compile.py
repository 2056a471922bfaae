"""mmengine's ``compile`` setting."""

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch._dynamo.utils import counters

from tests.support.new_torch import needs_new_torch
from tests.support.runs import load_config, own_globals


class GraphCounter(Hook):
    """Notes each step's losses and most labels, and the number of graphs up to then."""

    def __init__(self):
        self.losses, self.labels, self.graphs = [], [], []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append({k: v.item() for k, v in outputs.items()})
        samples = data_batch["data_samples"]
        self.labels.append(max(sample.num_labels for sample in samples))
        self.graphs.append(counters["stats"]["unique_graphs"])


def run(tiny, folder, **options):
    counter = GraphCounter()
    cfg = load_config(tiny, folder, **options)
    # Fewer operators, for which compiling is what takes the time.
    cfg.model.pseudo_label_generator.refiner.update(num_iter=1, dilations=(1, 2))
    with own_globals():
        runner = Runner.from_cfg(cfg)
        runner.register_hook(counter)
        runner.train()
    return counter


@needs_new_torch
@pytest.mark.slow
def test_a_compiled_run_is_the_same(tiny, tmp_path):
    torch.compiler.reset()
    compiled = run(tiny, tmp_path / "compiled", compile=dict(backend="aot_eager"))
    plain = run(tiny, tmp_path / "plain")
    for actual, expected in zip(compiled.losses, plain.losses, strict=True):
        assert actual == pytest.approx(expected, rel=1e-3, abs=1e-7)
    # Each of the first three steps begins a phase. The fourth, with other images,
    # sizes of the lattice and number of the step, finds everything compiled, but for
    # what the third had for the first time, with another number of labels.
    graphs, labels = compiled.graphs, compiled.labels
    assert 0 < graphs[0] < graphs[1] < graphs[2]
    assert graphs[3] - graphs[2] <= (labels[3] != labels[2])
