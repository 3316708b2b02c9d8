"""Networks whose wiring is drawn from models of random graphs."""
