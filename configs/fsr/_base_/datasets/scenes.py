# Drawn scenes, written by tools/dataset_converters/scenes.py
dataset_type = 'ImageLabelDataset'
data_root = 'data/scenes/'
metainfo = dict(
    classes=('background', 'ball', 'crate', 'fish', 'leaf', 'starfish'),
    palette=[[0, 0, 0], [230, 80, 60], [190, 140, 70], [60, 140, 220],
             [80, 180, 80], [190, 90, 200]])
crop_size = (96, 96)

# one view; each view of an image is its own random draw
view_pipeline = [
    dict(
        type='mmpretrain.RandomResizedCrop',
        scale=crop_size,
        crop_ratio_range=(0.32, 1.0),
        interpolation='bicubic',
        backend='pillow'),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='RandomApply',
        transforms=[
            dict(
                type='mmpretrain.ColorJitter',
                brightness=0.4,
                contrast=0.4,
                saturation=0.2,
                hue=0.1,
                backend='cv2')
        ],
        prob=0.5),
]
# Pillow reports a truncated image, OpenCV fills the rest with grey
train_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(
        type='mmpretrain.MultiView', num_views=[2],
        transforms=[view_pipeline]),
    dict(type='PackMultiViewSegInputs')
]
test_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='Resize', scale=crop_size, keep_ratio=False),
    # after `Resize`: scores are taken at the size of the mask
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs')
]

train_dataloader = dict(
    batch_size=24,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        data_prefix=dict(img_path='JPEGImages'),
        ann_file='ImageSets/Segmentation/train.txt',
        label_file='image_labels.json',
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        data_prefix=dict(
            img_path='JPEGImages', seg_map_path='SegmentationClass'),
        ann_file='ImageSets/Segmentation/val.txt',
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader
