"""A search within a time budget: its plan and its rungs."""
