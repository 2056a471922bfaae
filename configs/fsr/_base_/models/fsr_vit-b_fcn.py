# FSR for fine-tuning on some hundred photographs: a decoder with norm, as the
# first losses of the paper's undo what the classifiers have learned, and average
# pooling, as maximum pooling of pretrained features learns too unsteadily.
_base_ = './fsr_vit-b.py'
model = dict(
    decode_head=dict(
        _delete_=True,
        type='FCNHead',
        in_channels=768,
        channels=512,
        num_convs=2,
        concat_input=False,
        norm_cfg=dict(type='BN'),
        num_classes=_base_.model.decode_head.num_classes,
        loss_decode=_base_.model.decode_head.loss_decode),
    cam_head=dict(pooling='avg'))
