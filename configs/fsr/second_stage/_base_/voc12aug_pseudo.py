# PASCAL VOC 2012: the 10,582 training images with exported labels instead of masks,
# and the validation images. Data sets alone: the rest is the configs' own.
custom_imports = dict(imports=['mmseg_fsr'], allow_failed_imports=False)
# The folder of the labels is within data_root, or absolute.
pseudo_labels = '{{$FSR_PSEUDO_LABELS:PseudoLabels}}'
voc = dict(
    _delete_=True,
    type='PascalVOCDataset',
    data_root='data/VOCdevkit/VOC2012')
pseudo_train = dict(
    data_prefix=dict(img_path='JPEGImages', seg_map_path=pseudo_labels),
    ann_file='ImageSets/Segmentation/train_aug.txt',
    **voc)
voc_val = dict(
    data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
    ann_file='ImageSets/Segmentation/val.txt',
    **voc)
