# The paper's recipe for images of one's own, to add to any model: one GPU x 8 images.
# A config sets folder and classes: docs/own_data.md.
_base_ = [
    '../datasets/image_folder.py', '../schedules/schedule_20k.py',
    '../evaluation.py', '../default_runtime.py'
]
# Most runs on images of one's own are shorter than the paper's, in which the paper's
# 0.07 learns late (docs/shorter_run.md).
model_settings = dict(distill_head=dict(teacher_temp=0.04))
