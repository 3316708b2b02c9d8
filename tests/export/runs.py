"""Small runs that leave weights, to be exported."""

from collections.abc import Mapping

SHORT = (
    "search_space=sequential_cnn",
    "recipe=plain",
    "trials=2",
    "strategy=random",
    "evaluator.epochs=1",
    "evaluator.final_epochs=1",
    "dataset.train_samples=200",
)
SHORT += ("output.plots=false", "output.console=none", "hardware=cpu", "hardware.threads=1")
SPACES: Mapping[str, tuple[str, ...]] = {
    "sequential_cnn": ("search_space.max_depth=3", "search_space.filters=[4,8]"),
    "mlp": (),
    "macro_cnn": (),
    "nasbench101": ("search_space.stem_channels=8", "search_space.cells=1"),
    "nasbench201": ("search_space.channels=4", "search_space.cells=1"),
    "staged_cnn": ("constraints.parameters=20000", "search_space.blocks=[ir,bb]"),
    "randomly_wired": ("search_space.channels=4", "search_space.nodes=10"),
}
