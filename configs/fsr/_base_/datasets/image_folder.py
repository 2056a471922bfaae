# A data set of one's own: images/, masks/ (validation alone), train.txt, val.txt,
# image_labels.json. Configs of data sets set data_root and metainfo.
_base_ = './two_views_448.py'
folder = dict(
    type='ImageLabelDataset',
    data_root='data/image-folder/',
    metainfo=dict(classes=('background', 'object')))

train_dataloader = dict(
    batch_size=8,
    dataset=dict(
        data_prefix=dict(img_path='images'),
        ann_file='train.txt',
        label_file='image_labels.json',
        **folder))
val_dataloader = dict(
    dataset=dict(
        data_prefix=dict(img_path='images', seg_map_path='masks'),
        ann_file='val.txt',
        **folder))
test_dataloader = val_dataloader
