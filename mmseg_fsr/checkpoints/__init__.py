"""Checkpoints: reading them as data, checking, converting and writing them."""

from .names import NETWORKS, network_state_dict
from .official import convert_official_state_dict, convert_to_official
from .pretrained import load_pretrained_backbone
from .reading import Checkpoint, load_checkpoint_file, load_state_dict_file
from .renaming import Conversion
from .vit import LAYOUTS, convert_vit
from .writing import save_file, save_state_dict_file

__all__ = [
    "LAYOUTS",
    "NETWORKS",
    "Checkpoint",
    "Conversion",
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
