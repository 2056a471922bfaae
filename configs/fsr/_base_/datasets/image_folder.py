# A data set of one's own: images/, masks/ (validation alone), train.txt, val.txt,
# image_labels.json. Configs of data sets set data_root and metainfo.
_base_ = './two_views_448.py'
dataset_type = 'ImageLabelDataset'
data_root = 'data/image-folder/'
metainfo = dict(classes=('background', 'object'))

train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='SeededInfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        data_prefix=dict(img_path='images'),
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
        metainfo=metainfo,
        data_prefix=dict(img_path='images', seg_map_path='masks'),
        ann_file='val.txt',
        test_mode=True,
        pipeline=_base_.test_pipeline))
test_dataloader = val_dataloader
