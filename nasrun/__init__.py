"""nasrun: a command-line runner for neural architecture search experiments."""

__version__ = "0.1.0"

from nasrun.core.telemetry import switch_off_telemetry

# Here, since some libraries read their switch when they are imported, and other processes import nasrun first.
switch_off_telemetry()
