# The paper's recipe for PASCAL VOC, to add to a model: 8 GPUs x 1 image. What models
# state by themselves is for VOC.
_base_ = [
    '../datasets/voc.py', '../schedules/schedule_20k.py', '../evaluation.py',
    '../default_runtime.py'
]
