# To extend for images of one's own: docs/own_data.md.
_base_ = ['./_base_/models/fsr_vit-b.py', './_base_/recipes/image_folder.py']
model = dict(
    decode_head=dict(num_classes=2),
    cam_head=dict(num_classes=1),
    # The paper's 0.07 wants a longer run (docs/shorter_run.md).
    distill_head=dict(teacher_temp=0.04))
