# To extend for images of one's own: docs/own_data.md.
_base_ = ['./_base_/models/fsr_vit-b.py', './_base_/recipes/image_folder.py']
model = dict(decode_head=dict(num_classes=2), cam_head=dict(num_classes=1))
