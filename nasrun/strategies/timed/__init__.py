"""A search within a budget of time: its plan, its rungs, and how sure its choice is."""
