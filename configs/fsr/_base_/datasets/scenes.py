# Drawn scenes, written by tools/dataset_converters/scenes.py
_base_ = ['./two_views_448.py', './scenes_classes.py']
scenes = dict(
    type='ImageLabelDataset',
    data_root=_base_.data_root,
    metainfo=_base_.metainfo)
crop_size = (96, 96)
train_pipeline = _base_.train_pipeline
train_pipeline[2].transforms[0][0].scale = crop_size  # the views' random crop
test_pipeline = _base_.test_pipeline
test_pipeline[2].scale = crop_size[::-1]

train_dataloader = dict(
    batch_size=24,
    num_workers=2,
    pin_memory=False,
    dataset=dict(
        data_prefix=dict(img_path='JPEGImages'),
        ann_file='ImageSets/Segmentation/train.txt',
        label_file='image_labels.json',
        pipeline=train_pipeline,
        **scenes))
val_dataloader = dict(
    num_workers=2,
    dataset=dict(
        data_prefix=dict(
            img_path='JPEGImages', seg_map_path='SegmentationClass'),
        ann_file='ImageSets/Segmentation/val.txt',
        pipeline=test_pipeline,
        **scenes))
test_dataloader = val_dataloader
