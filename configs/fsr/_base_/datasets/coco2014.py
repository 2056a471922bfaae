# MS COCO 2014, image-level labels; masks of val2014 as ids 0..80
_base_ = './two_views_448.py'
coco = dict(type='COCO2014ImageLabelDataset', data_root='data/coco2014/')

train_dataloader = dict(
    dataset=dict(
        data_prefix=dict(img_path='train2014'),
        ann_file='train.txt',
        label_file='image_labels.json',
        **coco))
val_dataloader = dict(
    dataset=dict(
        data_prefix=dict(
            img_path='val2014', seg_map_path='SegmentationClass/val2014'),
        ann_file='val.txt',
        **coco))
test_dataloader = val_dataloader
