# To extend for images of one's own: docs/own_data.md.
_base_ = ['./_base_/models/fsr_vit-b.py', './_base_/recipes/image_folder.py']
model = dict(
    decode_head=dict(num_classes=2),
    cam_head=dict(num_classes=1),
    # Most runs on images of one's own are shorter than the paper's, in which the
    # paper's 0.07 learns late (docs/shorter_run.md).
    distill_head=dict(teacher_temp=0.04))
