# The paper's recipe: tools/dist_train.sh configs/fsr/fsr_vit-b_coco.py 8
_base_ = ['./_base_/models/fsr_vit-b.py', './_base_/recipes/coco.py']
pretrained = '{{$FSR_VIT_B:pretrain/jx_vit_base_p16_224-80ecf9dd.pth}}'
model = dict(
    backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=pretrained)),
    **_base_.model_settings)
