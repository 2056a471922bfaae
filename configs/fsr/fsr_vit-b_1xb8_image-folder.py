# To extend for images of one's own: docs/own_data.md.
_base_ = ['./_base_/models/fsr_vit-b.py', './_base_/recipes/image_folder.py']

from mmseg_fsr.own_data import own_data_settings

globals().update(
    own_data_settings(
        _base_, data_root='data/image-folder/',
        classes=('background', 'object')))
