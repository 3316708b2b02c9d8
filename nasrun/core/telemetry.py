"""Disables the telemetry of libraries before any of them is imported."""

import os

SWITCHED_OFF = {
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime: events to Microsoft, queued below ~/.cache/Microsoft
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "WANDB_ERROR_REPORTING": "false",  # Sentry
}
"""Environment variables that switch off telemetry."""


def switch_off_telemetry() -> None:
    """Set the variables, overriding earlier values, for this process and all processes that it starts."""
    os.environ.update(SWITCHED_OFF)
