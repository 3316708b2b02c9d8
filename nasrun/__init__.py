"""nasrun: a command-line runner for neural architecture search experiments."""

__version__ = "0.1.0"
