"""Signals that a run may receive. Imports nothing of nasrun."""

import signal

BATCH_SIGNALS = tuple(getattr(signal, name) for name in ("SIGHUP", "SIGUSR1", "SIGUSR2") if hasattr(signal, name))
"""Signals that batch systems send to all processes of a job some time before killing them; terminals also send
SIGHUP."""
