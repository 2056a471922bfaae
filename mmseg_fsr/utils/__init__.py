"""Reading, converting and writing weights."""

from .official_checkpoint import convert_official_state_dict
from .pretrained import load_pretrained_backbone
from .safe_load import load_checkpoint_file, load_state_dict_file
from .safe_save import save_state_dict_file

__all__ = [
    "convert_official_state_dict",
    "load_checkpoint_file",
    "load_pretrained_backbone",
    "load_state_dict_file",
    "save_state_dict_file",
]
