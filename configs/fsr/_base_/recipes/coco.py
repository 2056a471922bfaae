# The paper's recipe for MS COCO, to add to a model: 8 GPUs x 1 image. A config takes
# over what COCO asks of the model by `model = _base_.model_settings`.
_base_ = [
    '../datasets/coco2014.py', '../schedules/schedule_80k.py',
    '../evaluation.py', '../default_runtime.py'
]
model_settings = dict(
    decode_head=dict(num_classes=81),
    cam_head=dict(num_classes=80),
    pseudo_label_generator=dict(high_thr=0.65),
    loss_begin=dict(loss_seg=8000, loss_energy=8000, loss_ptc=12000))
default_hooks = dict(checkpoint=dict(interval=8000))
val_evaluator = [
    dict(type='IoUMetric', iou_metrics=['mIoU']),
    dict(type='CAMIoUMetric', field='cams', bkg_thr=0.45),
    dict(type='CAMIoUMetric', field='aux_cams', bkg_thr=0.45, prefix='aux_cam'),
    dict(type='PseudoLabelIoUMetric'),
    dict(type='ImageLabelMetric'),
]
test_evaluator = val_evaluator
