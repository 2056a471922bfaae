"""Models as a run begins with them."""

from types import SimpleNamespace

from mmseg_fsr.engine.hooks import EMATeacherHook


def initialized(model):
    """Gives a model, and the teachers in it, initial weights, and trains it."""
    model.init_weights()
    EMATeacherHook().before_train(SimpleNamespace(model=model, iter=0))
    return model.train()
