# The paper's recipe for images of one's own, to add to any model: one GPU x 8 images.
# What it sets of the model is taken over by `model = _base_.model_settings`; the
# config itself sets folder and classes: docs/own_data.md.
_base_ = [
    '../datasets/image_folder.py', '../schedules/schedule_20k.py',
    '../evaluation.py', '../default_runtime.py'
]
model_settings = dict(
    decode_head=dict(num_classes=2),
    cam_head=dict(num_classes=1),
    loss_begin=dict(loss_seg=2000, loss_energy=2000))
