"""Signals that a run may get from outside. Imports nothing of nasrun."""

import signal

BATCH_SIGNALS = tuple(getattr(signal, name) for name in ("SIGHUP", "SIGUSR1", "SIGUSR2") if hasattr(signal, name))
"""What batch systems send to all processes of a job, a while before they kill them; SIGHUP comes from terminals too."""
