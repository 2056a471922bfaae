# To extend for images of one's own: docs/own_data.md.
_base_ = [
    './_base_/models/fsr_vit-b.py', './_base_/datasets/image_folder.py',
    './_base_/schedules/schedule_20k.py', './_base_/evaluation.py',
    './_base_/default_runtime.py'
]
# timm's vit_base_patch16_224, trained on ImageNet-21k and then ImageNet-1k
pretrained = '{{$FSR_VIT_B:pretrain/jx_vit_base_p16_224-80ecf9dd.pth}}'
model = dict(
    backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=pretrained)),
    decode_head=dict(num_classes=2),
    cam_head=dict(num_classes=1),
    loss_begin=dict(loss_seg=2000, loss_energy=2000))
