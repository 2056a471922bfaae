# PASCAL VOC 2012 with the SBD images (10,582 in train_aug), image-level labels
_base_ = './two_views_448.py'
voc = dict(
    type='VOCImageLabelDataset', data_root='data/VOCdevkit/VOC2012/')

train_dataloader = dict(
    dataset=dict(
        data_prefix=dict(img_path='JPEGImages'),
        ann_file='ImageSets/Segmentation/train_aug.txt',
        label_file='image_labels.json',
        **voc))
val_dataloader = dict(
    dataset=dict(
        data_prefix=dict(
            img_path='JPEGImages', seg_map_path='SegmentationClass'),
        ann_file='ImageSets/Segmentation/val.txt',
        **voc))
test_dataloader = val_dataloader
