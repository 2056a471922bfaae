"""A hook that writes down what a run did, one file a process."""

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmseg.registry import HOOKS


class Interrupted(RuntimeError):
    """The run was asked to break off."""


def clone(value):
    """A copy of nested dicts and lists with cloned tensors."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {k: clone(v) for k, v in value.items()}
    if isinstance(value, list):
        return [clone(v) for v in value]
    return value


@HOOKS.register_module(force=True)
class RunRecorder(Hook):
    """Keeps the state before the first step, and of each step what it did.

    Args:
        folder: Existing folder for ``rank<r>.pt``.
        stop_after: Step, from 1, after which the run breaks off, its checkpoint
            written. Defaults to None, never.
    """

    # After the hooks that average, schedule and save.
    priority = "LOWEST"

    def __init__(self, folder: str, stop_after: int | None = None) -> None:
        self.path = f"{folder}/rank{get_rank()}.pt"
        self.stop_after = stop_after
        self.record = dict(steps=[], metrics={})

    def before_train(self, runner):
        self.record["start"] = clone(dict(_model(runner).state_dict()))
        self.record["start_optimizer"] = clone(runner.optim_wrapper.state_dict())
        self.record["start_iter"] = runner.iter

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.lr = [group["lr"] for group in runner.optim_wrapper.param_groups]

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        state = _model(runner).state_dict()
        self.record["steps"].append(
            dict(
                step=runner.iter + 1,
                lr=self.lr,
                losses={k: v.item() for k, v in outputs.items()},
                images=[s.img_path for s in data_batch["data_samples"]],
                state=clone(dict(state)),
            )
        )
        torch.save(self.record, self.path)
        if runner.iter + 1 == self.stop_after:
            raise Interrupted(f"step {self.stop_after}")

    def after_val_epoch(self, runner, metrics=None):
        self.record["metrics"] = {k: float(v) for k, v in metrics.items()}
        torch.save(self.record, self.path)


def _model(runner):
    return runner.model.module if is_model_wrapper(runner.model) else runner.model
