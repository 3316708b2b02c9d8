"""The tables of `tables.py`, one module per table."""
