"""Reading, converting and writing weights."""

from .official_checkpoint import convert_official_state_dict, convert_to_official
from .pretrained import load_pretrained_backbone
from .safe_load import load_checkpoint_file, load_state_dict_file
from .safe_save import save_file, save_state_dict_file
from .student_teacher import NETWORKS, network_state_dict
from .vit_layout import LAYOUTS, convert_vit

__all__ = [
    "LAYOUTS",
    "NETWORKS",
    "convert_official_state_dict",
    "convert_to_official",
    "convert_vit",
    "load_checkpoint_file",
    "load_pretrained_backbone",
    "load_state_dict_file",
    "network_state_dict",
    "save_file",
    "save_state_dict_file",
]
