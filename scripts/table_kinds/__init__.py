"""The tables of `tables.py`, a module each."""
