# FSR on a dilated ResNet-50 (stride 16) whose norm layers are trained too, over the
# images of all GPUs.
_base_ = './fsr_r50.py'
model = dict(
    backbone=dict(
        backbone=dict(
            frozen_stages=-1,
            norm_cfg=dict(type='SyncBN', requires_grad=True),
            norm_eval=False)))
