"""What a run leaves for people: tables, summary, plots and the console. Nothing here imports torch."""
