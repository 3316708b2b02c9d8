"""Networks that people have found to work, in the notation of `staged_cnn`, small enough for small images.

Their shapes are those of the papers named; numbers of blocks and widths are cut down, and a search with limits scales
the widths further. Large images are halved in the stem, so that one string stands for all sizes. The order is that of
what came out after a minute of one core on 6,000 images of CIFAR-10, deep ones last.
"""

KNOWN = {
    # He et al. 2016 (arXiv 1512.03385), section 4.2, with one block a stage (the ResNet-8 of MLPerf Tiny), and without
    # its first stage, which takes two fifths of the time for a sixteenth of the parameters.
    "resnet6": "relu-cn_r1_k3_s1_c16-bb_r1_k3_s2_c32-bb_r1_k3_s2_c64",
    # Simonyan and Zisserman 2015 (arXiv 1409.1556), table 1: at this depth nothing is missed without shortcuts.
    "vgg6": "relu-cn_r1_k3_s1_c16-cn_r2_k3_s2_c32-cn_r2_k3_s2_c64",
    # ResNet-8 with a stride in the stem: its first stage at half the resolution.
    "resnet8_early": "relu-cn_r1_k3_s2_c16-bb_r1_k3_s1_c16-bb_r1_k3_s2_c32-bb_r1_k3_s2_c64",
    "resnet8": "relu-cn_r1_k3_s1_c16-bb_r1_k3_s1_c16-bb_r1_k3_s2_c32-bb_r1_k3_s2_c64",
    # Sandler et al. 2018 (arXiv 1801.04381), table 2.
    "mobilenet_v2": "relu-cn_r1_k3_s1_c16-ir_r1_k3_s2_e3_c24-ir_r2_k3_s2_e4_c40-cn_r1_k1_s1_c160",
    # Tan and Le 2021 (arXiv 2104.00298), table 4: fused blocks first, then inverted residuals with squeeze-and-excite.
    "efficientnet_v2": (
        "hswish-cn_r1_k3_s1_c16-er_r1_k3_s2_e2_c24-er_r1_k3_s2_e4_c40-ir_r1_k3_s1_e4_c56_se0.25-cn_r1_k1_s1_c160"
    ),
    # Tan and Le 2019 (arXiv 1905.11946), table 1; kernels of 3 alone.
    "efficientnet": "hswish-cn_r1_k3_s1_c16-ir_r1_k3_s2_e3_c24_se0.25-ir_r2_k3_s2_e4_c40_se0.25-cn_r1_k1_s1_c160",
    # Two and three blocks a stage, as in He et al.: deeper for their parameters, where there is time for it.
    "resnet14": "relu-cn_r1_k3_s1_c16-bb_r2_k3_s1_c16-bb_r2_k3_s2_c32-bb_r2_k3_s2_c64",
    "resnet20": "relu-cn_r1_k3_s1_c16-bb_r3_k3_s1_c16-bb_r3_k3_s2_c32-bb_r3_k3_s2_c64",
}
