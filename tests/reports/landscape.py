"""A run of milliseconds on the made-up landscape, for comparisons."""

LANDSCAPE = (
    "search_space=sequential_cnn",
    "recipe=plain",
    "evaluator=synthetic",
    "dataset=synthetic",
    "output.plots=false",
    "output.console=none",
)
