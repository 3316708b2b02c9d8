"""Known good networks, in the notation of `staged_cnn`, small enough for small images.

Their shapes are those of the papers named; numbers of blocks and widths are reduced, and a search with limits scales
the widths further. Large images are halved in the stem, so that one string works for all sizes.
"""

KNOWN = {
    # The ResNet-8 with wider early stages, which take most of its time: with enough time it gets more out of the same
    # number of parameters.
    "resnet8_wide": "relu-cn_r1_k3_s1_c24-bb_r1_k3_s1_c24-bb_r1_k3_s2_c36-bb_r1_k3_s2_c64",
    # He et al. 2016 (arXiv 1512.03385), section 4.2, with one block per stage: the ResNet-8 of MLPerf Tiny.
    "resnet8": "relu-cn_r1_k3_s1_c16-bb_r1_k3_s1_c16-bb_r1_k3_s2_c32-bb_r1_k3_s2_c64",
    # With the first stride in the stem: all blocks at half the resolution, in a quarter of the time.
    "resnet8_early": "relu-cn_r1_k3_s2_c16-bb_r1_k3_s1_c16-bb_r1_k3_s2_c32-bb_r1_k3_s2_c64",
    # The ResNet-8 without its first stage, which takes two fifths of its time for a sixteenth of its parameters, and
    # with the activation of MobileNetV3 (Howard et al. 2019, arXiv 1905.02244).
    "resnet6": "hswish-cn_r1_k3_s1_c16-bb_r1_k3_s2_c32-bb_r1_k3_s2_c64",
    # Simonyan and Zisserman 2015 (arXiv 1409.1556), with normalisations: no shortcuts, which so few layers do not need.
    "vgg5": "relu-cn_r1_k3_s1_c16-cn_r2_k3_s2_c32-cn_r2_k3_s2_c64",
    # Tan and Le 2021 (arXiv 2104.00298), table 4: fused blocks first, then inverted residuals with squeeze-and-excite.
    "efficientnet_v2": (
        "hswish-cn_r1_k3_s1_c16-er_r1_k3_s2_e2_c24-er_r1_k3_s2_e4_c40-ir_r1_k3_s1_e4_c56_se0.25-cn_r1_k1_s1_c160"
    ),
    # Sandler et al. 2018 (arXiv 1801.04381), table 2.
    "mobilenet_v2": "relu-cn_r1_k3_s1_c16-ir_r1_k3_s2_e3_c24-ir_r2_k3_s2_e4_c40-cn_r1_k1_s1_c160",
    # Tan and Le 2019 (arXiv 1905.11946), table 1; only kernels of 3.
    "efficientnet": "hswish-cn_r1_k3_s1_c16-ir_r1_k3_s2_e3_c24_se0.25-ir_r2_k3_s2_e4_c40_se0.25-cn_r1_k1_s1_c160",
    # He et al. 2016, section 4.2: n = 2 and 3, deep for their parameters, for searches with hours to spend.
    "resnet14": "relu-cn_r1_k3_s1_c16-bb_r2_k3_s1_c16-bb_r2_k3_s2_c32-bb_r2_k3_s2_c64",
    "resnet20": "relu-cn_r1_k3_s1_c16-bb_r3_k3_s1_c16-bb_r3_k3_s2_c32-bb_r3_k3_s2_c64",
}
