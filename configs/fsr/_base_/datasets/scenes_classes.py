# Where the drawn scenes are, and the names and colours of their classes
data_root = 'data/scenes/'
metainfo = dict(
    classes=('background', 'ball', 'crate', 'fish', 'leaf', 'starfish'),
    palette=[[0, 0, 0], [230, 80, 60], [190, 140, 70], [60, 140, 220],
             [80, 180, 80], [190, 90, 200]])
