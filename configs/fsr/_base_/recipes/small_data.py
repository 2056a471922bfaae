# For some hundred images of one's own, to add to any pretrained model: 4,000 steps on
# one GPU x 8 images. docs/own_data.md has the reasons.
_base_ = [
    '../datasets/image_folder.py', '../schedules/schedule_4k.py',
    '../evaluation.py', '../default_runtime.py'
]
model_settings = dict(
    # Maximum pooling of pretrained features learns too unsteadily.
    cam_head=dict(pooling='avg'),
    # The paper's 0.07 learns late (docs/shorter_run.md).
    distill_head=dict(teacher_temp=0.04),
    # The classifiers learn alone through a tenth of the run.
    loss_begin=dict(loss_seg=400, loss_energy=400, loss_ptc=400))
# In place of the paper's, whose first losses undo what the classifiers have learned.
normed_decoder = dict(
    type='FCNHead',
    channels=512,
    num_convs=2,
    concat_input=False,
    norm_cfg=dict(type='BN'))
custom_hooks = [dict(type='EMATeacherHook', momentum=0.995)]
default_hooks = dict(
    checkpoint=dict(interval=1000), cam_visualization=dict(interval=1000))
