"""Libraries that report on their users unless told not to: what tells them, before any of them is imported."""

import os

SWITCHED_OFF = {
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime: events to Microsoft, queued below ~/.cache/Microsoft
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "WANDB_ERROR_REPORTING": "false",  # Sentry
}
"""Environment variables that switch off telemetry."""


def switch_off_telemetry() -> None:
    """Set the variables, whatever they are set to: for this process and for all that it starts."""
    os.environ.update(SWITCHED_OFF)
