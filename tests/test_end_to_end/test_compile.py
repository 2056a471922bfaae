"""mmengine's ``compile`` setting."""

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch._dynamo.utils import counters

from tests.support.devices import DEVICES
from tests.support.new_torch import needs_new_torch
from tests.support.runs import WITHOUT_VALIDATION, load_config, own_globals


class GraphCounter(Hook):
    """Notes each step's losses and images' labels, and the graphs up to then."""

    def __init__(self):
        self.losses, self.labels, self.graphs = [], [], []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append({k: v.item() for k, v in outputs.items()})
        samples = data_batch["data_samples"]
        self.labels.append([sample.num_labels for sample in samples])
        self.graphs.append(counters["stats"]["unique_graphs"])


def run(tiny, folder, **options):
    """Four steps: the second begins every loss and the masks by CAMs."""
    counter = GraphCounter()
    cfg = load_config(
        tiny,
        folder,
        model__loss_begin=dict(loss_seg=1, loss_energy=1, loss_ptc=1),
        model__mask_generator__random_phase=0.25,
        **WITHOUT_VALIDATION,
        **options,
    )
    # Compiling is what takes the time: fewer operators, and an optimiser of few, to
    # which the learning rate is a constant.
    cfg.model.backbone.arch.num_layers = 2
    cfg.model.backbone.out_indices = (0, 1)
    cfg.model.pseudo_label_generator.refiner.update(num_iter=1, dilations=(1,))
    cfg.optim_wrapper.optimizer = dict(type="SGD", lr=0.1)
    cfg.param_scheduler = []
    with own_globals():
        runner = Runner.from_cfg(cfg)
        runner.register_hook(counter)
        runner.train()
    return counter


@needs_new_torch
@pytest.mark.parametrize("device", DEVICES)
def test_a_compiled_run_is_the_same(tiny, tmp_path, device, monkeypatch):
    monkeypatch.setattr("mmengine.runner.runner.get_device", lambda: device)
    torch.compiler.reset()
    compiled = run(tiny, tmp_path / "compiled", compile=dict(backend="aot_eager"))
    plain = run(tiny, tmp_path / "plain")
    for actual, expected in zip(compiled.losses, plain.losses, strict=True):
        assert actual == pytest.approx(expected, rel=1e-3, abs=1e-7)
    # The third compiles what another size of the lattice makes dynamic. The fourth,
    # with other images and another number of the step, finds everything compiled, but
    # for other numbers of labels.
    graphs, labels = compiled.graphs, compiled.labels
    assert 0 < graphs[0] < graphs[1]
    assert graphs[3] - graphs[2] <= (labels[3] != labels[2])
