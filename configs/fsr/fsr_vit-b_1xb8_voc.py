# One GPU with the paper's global batch of 8.
_base_ = './fsr_vit-b_voc.py'
train_dataloader = dict(batch_size=8, num_workers=8)
