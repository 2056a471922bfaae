# A part of PASCAL VOC 2012: 913 train and 445 val images, 8 classes of objects.
# Lists and labels are here, the images are those of any VOC 2012 download.
_base_ = './two_views_448.py'
dataset_type = 'VOCImageLabelDataset'
data_root = '{{$VOC_MINI_ROOT:data/VOCdevkit/VOC2012/}}'
lists = '{{fileDirname}}/voc_mini/'
metainfo = dict(
    classes=('background', 'cat', 'chair', 'cow', 'dog', 'horse', 'person',
             'sheep', 'sofa'))

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
        data_prefix=dict(img_path='JPEGImages'),
        ann_file=lists + 'train.txt',
        label_file=lists + 'image_labels.json',
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
        data_prefix=dict(
            img_path='JPEGImages', seg_map_path='SegmentationClass'),
        ann_file=lists + 'val.txt',
        test_mode=True,
        pipeline=_base_.test_pipeline))
test_dataloader = val_dataloader
