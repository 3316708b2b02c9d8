"""Networks whose wiring is drawn from random graph models."""
