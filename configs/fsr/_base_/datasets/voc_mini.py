# A part of PASCAL VOC 2012: 913 train and 445 val images, 8 classes of objects.
# Lists and labels are here, the images are those of any VOC 2012 download.
_base_ = './two_views_448.py'
lists = '{{fileDirname}}/voc_mini/'
voc_mini = dict(
    type='VOCImageLabelDataset',
    data_root='{{$VOC_MINI_ROOT:data/VOCdevkit/VOC2012/}}',
    metainfo=dict(
        classes=('background', 'cat', 'chair', 'cow', 'dog', 'horse', 'person',
                 'sheep', 'sofa')))

train_dataloader = dict(
    batch_size=8,
    dataset=dict(
        data_prefix=dict(img_path='JPEGImages'),
        ann_file=lists + 'train.txt',
        label_file=lists + 'image_labels.json',
        **voc_mini))
val_dataloader = dict(
    dataset=dict(
        data_prefix=dict(
            img_path='JPEGImages', seg_map_path='SegmentationClass'),
        ann_file=lists + 'val.txt',
        **voc_mini))
test_dataloader = val_dataloader
