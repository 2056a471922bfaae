# The paper's recipe: tools/dist_train.sh configs/fsr/fsr_vit-b_voc.py 8
_base_ = ['./_base_/models/fsr_vit-b.py', './_base_/recipes/voc.py']
