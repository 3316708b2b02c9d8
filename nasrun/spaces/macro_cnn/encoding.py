"""The tokens of macro CNNs that are no numbers of channels."""

POOL = "pool"
