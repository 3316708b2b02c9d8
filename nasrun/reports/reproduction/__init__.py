"""A paper's claims compared with the results of runs: read from YAML, measured, judged, and written as one table."""
