# The demo's scenes with exported labels instead of masks.
_base_ = [
    '../../_base_/datasets/scenes_masks.py', '../../_base_/scenes_runtime.py',
    '../../_base_/schedules/schedule_600.py'
]
# The folder of the labels is within data_root, or absolute.
pseudo_labels = '{{$FSR_PSEUDO_LABELS:PseudoLabels}}'
train_dataloader = dict(
    dataset=dict(data_prefix=dict(seg_map_path=pseudo_labels)))
