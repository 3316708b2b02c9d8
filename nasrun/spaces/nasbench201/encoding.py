"""The operations and edges of a cell of NAS-Bench-201, and its stages."""

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""In the order of the benchmark."""

EDGES = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))
"""Target and source node of each position of a genome. Node 0 is the input of the cell, node 3 its output."""

STAGES = 3  # of cells; between them, a reduction halves height and width and doubles the channels
