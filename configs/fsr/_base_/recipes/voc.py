# The paper's recipe for PASCAL VOC, to add to a model: 8 GPUs x 1 image. What it
# sets of the model is taken over by `model = _base_.model_settings`. Thresholds are
# the same for every data set: they stand with the model.
_base_ = [
    '../datasets/voc.py', '../schedules/schedule_20k.py', '../evaluation.py',
    '../default_runtime.py'
]
model_settings = dict(
    decode_head=dict(num_classes=21),
    cam_head=dict(num_classes=20),
    loss_begin=dict(loss_seg=2000, loss_energy=2000))
