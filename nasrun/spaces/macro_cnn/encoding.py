"""The tokens of macro CNNs that are not numbers of channels."""

POOL = "pool"
