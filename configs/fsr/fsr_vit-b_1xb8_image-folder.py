# To extend for images of one's own: docs/own_data.md.
_base_ = ['./_base_/models/fsr_vit-b.py', './_base_/recipes/image_folder.py']
# timm's vit_base_patch16_224, trained on ImageNet-21k and then ImageNet-1k
pretrained = '{{$FSR_VIT_B:pretrain/jx_vit_base_p16_224-80ecf9dd.pth}}'
model = dict(
    backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=pretrained)),
    **_base_.model_settings)
