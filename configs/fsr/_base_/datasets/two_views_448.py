# Two augmented views of 448 px for training, the whole image for validation. Data
# sets add type, folders and files; a batch is 8 GPUs x 1 image.
crop_size = (448, 448)  # height and width

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
    dict(type='ScaleTo8Bit'),
    dict(
        type='mmpretrain.MultiView', num_views=[2],
        transforms=[view_pipeline]),
    dict(type='PackMultiViewSegInputs')
]
test_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='ScaleTo8Bit'),
    # width and height
    dict(type='Resize', scale=crop_size[::-1], keep_ratio=False),
    # after `Resize`: scores are taken at the size of the mask
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs')
]
train_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='SeededInfiniteSampler', shuffle=True),
    dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(test_mode=True, pipeline=test_pipeline))
test_dataloader = val_dataloader
