# The paper's recipe: tools/dist_train.sh configs/fsr/fsr_vit-b_coco.py 8
_base_ = ['./_base_/models/fsr_vit-b.py', './_base_/recipes/coco.py']
model = _base_.model_settings
