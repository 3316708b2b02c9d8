"""What a run shows to people: tables, summary, plots and the console. Nothing here imports torch."""
