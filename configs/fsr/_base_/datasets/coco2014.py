# MS COCO 2014, image-level labels; masks of val2014 as ids 0..80
_base_ = './two_views_448.py'
dataset_type = 'COCO2014ImageLabelDataset'
data_root = 'data/coco2014/'

# 8 GPUs x 1 image
train_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='SeededInfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='train2014'),
        ann_file='train.txt',
        label_file='image_labels.json',
        pipeline=_base_.train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(
            img_path='val2014', seg_map_path='SegmentationClass/val2014'),
        ann_file='val.txt',
        test_mode=True,
        pipeline=_base_.test_pipeline))
test_dataloader = val_dataloader
