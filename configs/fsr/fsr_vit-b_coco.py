# The paper's recipe: tools/dist_train.sh configs/fsr/fsr_vit-b_coco.py 8
_base_ = [
    './_base_/models/fsr_vit-b.py', './_base_/datasets/coco2014.py',
    './_base_/schedules/schedule_80k.py', './_base_/evaluation.py',
    './_base_/default_runtime.py'
]
num_classes = 80
pretrained = '{{$FSR_VIT_B:pretrain/jx_vit_base_p16_224-80ecf9dd.pth}}'
model = dict(
    backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=pretrained)),
    decode_head=dict(num_classes=num_classes + 1),
    cam_head=dict(num_classes=num_classes),
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
