"""Search spaces of CNNs in stages for several tests."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from nasrun.spaces.staged_cnn.space import StagedCNN

CONFIG = Path(__file__).resolve().parents[2] / "conf" / "search_space" / "staged_cnn.yaml"
RESNET8 = "relu-cn_r1_k3_s1_c16-bb_r1_k3_s1_c16-bb_r1_k3_s2_c32-bb_r1_k3_s2_c64"
ALL_BLOCKS = (
    "hswish-cn_r1_k5_s1_c8-bb_r2_k3_s2_c12-ir_r2_k3_s2_e3_c16_se0.25-er_r2_k3_s1_e2_c16-ds_r2_k3_s2_c20-cn_r2_k1_s1_c24"
)


def space(**changes: Any) -> StagedCNN:
    options: Any = OmegaConf.to_container(OmegaConf.load(CONFIG))
    del options["_target_"]
    return StagedCNN(**{**options, **changes})


SPACE = space()
