"""A paper's claims beside what runs came to: read from YAML, measured, judged, and written as one table."""
