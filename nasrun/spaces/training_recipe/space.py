"""Training recipes: one fixed network, trained with other activations, another optimizer or batch size.

Source: MIHA, whose mutations change these while the network trains. All genomes have the same weights, so that training
can continue from that of any other.
"""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nasrun.core import Cost, Genome, Mutation, SearchSpace, Task, Token
from nasrun.core.options import ConfigError, show
from nasrun.spaces.sections import make_space
from nasrun.spaces.training_recipe import models as recipe_models
from nasrun.spaces.training_recipe.settings import ACTIVATIONS, OPTIMIZERS, Genes, Network, StartRecipe

if TYPE_CHECKING:
    import torch

TORCH: dict[str, dict[str, float | bool]] = {
    "sgd": {"lr": 0.001, "momentum": 0.9, "nesterov": False, "weight_decay": 0.0},
    "adam": {"lr": 0.001, "weight_decay": 0.0},
    "adamw": {"lr": 0.001, "weight_decay": 0.01},
    "adadelta": {"lr": 1.0, "weight_decay": 0.0},
}
"""The default options of the optimizers of `torch.optim`; momentum 0.9 as in MIHA."""

PUBLISHED = {**TORCH, "sgd": {**TORCH["sgd"], "lr": 0.00001}}
"""The rates of MIHA's authors, in their published notebooks."""


class TrainingRecipe(SearchSpace):
    """How one network is trained: optimizer, batch size and the activation of each layer.

    Genome: `(optimizer, batch size, activation, activation, ...)`, one activation for each that the network has; with
    `lrs` the learning rate follows the batch size, with `weight_decays` the weight decay, both as text; with `outputs`
    the activation after the last layer comes last, for losses of shares (`evaluator.loss=nll`). String:
    `adam-32-ReLU-Tanh`, or `adam-32-0.001-ReLU-Tanh`, or `adam-32-ReLU-Tanh-Softmax`.

    `model`: `dense` (`widths` units), `small_cnn` (`widths` channels), `auto_encoder` (the same, for regression), or
    `genome`: the best network of a finished run, by its directory (`run`), or the `genome` of the space that `base`
    describes, which is how a run's directory is stored. `optimizer`, `batch_size`, `activation`: of `start`, the first
    recipe of a search that changes one network. `batch_step`: maximum change of the batch size by one mutation.
    `rates`: values of learning rate, weight decay and momentum that are not genes: torch's defaults for the optimizer
    (`torch`), those of MIHA's authors (`published`: SGD at 0.00001), or the evaluator's (`evaluator`). ValueError
    begins with the key.
    """

    def __init__(
        self,
        *,
        network: Network = Network(),
        genes: Genes = Genes(),
        start: StartRecipe = StartRecipe(),
        rates: Literal["torch", "published", "evaluator"] = "torch",
    ) -> None:
        start.check(genes)
        self.optimizers: tuple[Token, ...] = tuple(genes.optimizers or OPTIMIZERS)
        self.activations: tuple[Token, ...] = tuple(genes.activations or ACTIVATIONS)
        self.model, self._widths = network.model, tuple(network.widths or recipe_models.WIDTHS.get(network.model, ()))
        self.min_batch, self.max_batch, self._step = genes.min_batch, genes.max_batch, genes.batch_step
        self._rates, self._floats = rates, genes.floats
        self._outputs: tuple[Token, ...] = tuple(genes.outputs or ())
        self.null_mutations = genes.null_mutations
        if self._outputs and network.model not in ("dense", "small_cnn"):
            raise ValueError(f"outputs={show(genes.outputs)}: needs classification with model=dense or small_cnn")
        base, genome = network.base, network.genome
        if self.model == "genome":
            base, genome = (base, genome) if network.run is None else _best_of(network.run)
            self._adopt(base, genome)
        else:
            self._layers = recipe_models.activations_of(self.model, self._widths)
            both: tuple[Any, ...] = ("classification", "regression")
            self.kinds = {"dense": both, "small_cnn": both[:1], "auto_encoder": both[1:]}[self.model]
        self.start = self._with_floats(start.optimizer, start.batch_size, (start.activation,) * self._layers)
        self.size = (
            len(self.optimizers)
            * (self.max_batch - self.min_batch + 1)
            * len(self.activations) ** self._layers
            * max(len(self._outputs), 1)
            * int(np.prod([len(values) for values in self._floats.values()], dtype=np.int64))
        )
        self.mutations = self._mutations()
        # Without the directory of a run, so that an archive is self-contained.
        self.section = {
            "_target_": "nasrun.spaces.training_recipe.space.TrainingRecipe",
            **{"model": self.model, "widths": network.widths, "base": base, "genome": genome, "rates": rates},
            **vars(start),
            **{name: getattr(genes, name) for name in ("optimizers", "activations", "lrs", "weight_decays")},
            **{name: getattr(genes, name) for name in ("min_batch", "max_batch", "batch_step")},
            **{name: getattr(genes, name) for name in ("outputs", "null_mutations")},
        }

    def _adopt(self, base: Mapping[str, Any] | None, genome: str | None) -> None:
        """Use the network of a genome of another space."""
        if base is None or genome is None:
            missing = "base" if base is None else "genome"
            raise ValueError(f"{missing}=null: model=genome needs run, or both base and genome")
        try:
            self._base = make_space(base)
        except ValueError as error:
            raise ValueError(f"base={show(dict(base))}: {error}") from None
        try:
            self._base_genome = self._base.parse(genome)
        except ValueError as error:
            raise ValueError(f"genome={genome}: {error}") from None
        network = self._base.outline(self._base_genome, recipe_models.PROBE)
        self._layers = len(recipe_models.places_of_activations(network))
        if not self._layers:
            raise ValueError(f"genome={genome}: its network has no activation to change")
        self.kinds = self._base.kinds

    def _with_floats(self, optimizer: Token, batch: Token, activations: tuple[Token, ...]) -> Genome:
        """The first genome: with the middle one of the learning rates and weight decays."""
        rates = (values[len(values) // 2] for values in self._floats.values())
        return (optimizer, batch, *rates, *activations, *self._outputs[:1])

    def _tokens(self, position: int) -> tuple[Token, ...]:
        """The legal tokens at a position."""
        if position == 0:
            return self.optimizers
        if position == 1:
            return tuple(range(self.min_batch, self.max_batch + 1))
        if position < self._first:
            return list(self._floats.values())[position - 2]
        if position < self._first + self._layers:
            return self.activations
        return self._outputs if position < self._length else ()

    @property
    def _first(self) -> int:
        """The position of the first activation."""
        return 2 + len(self._floats)

    @property
    def _length(self) -> int:
        return self._first + self._layers + bool(self._outputs)

    def _mutations(self) -> dict[str, Mutation]:
        """The mutations that can change something in this space."""
        mutations: dict[str, Mutation] = {}
        if len(self.optimizers) > 1:
            mutations["optimizer"] = partial(self._other, 0)
        if max(len(self.activations), len(self._outputs)) > 1:
            mutations["activation"] = self._change_activation
        if self.max_batch > self.min_batch:
            mutations["batch_size"] = self._change_batch
        for place, (name, values) in enumerate(self._floats.items(), start=2):
            if len(values) > 1:
                mutations[name] = partial(self._near, place)
        return mutations

    def _other(self, place: int, genome: Genome, rng: np.random.Generator) -> Genome:
        """Change the token at a position to any other; with null mutations to any."""
        others = [token for token in self._tokens(place) if self.null_mutations or token != genome[place]]
        return _replaced(genome, place, others[int(rng.integers(len(others)))])

    def _near(self, place: int, genome: Genome, rng: np.random.Generator) -> Genome:
        """Change the token at a position to the next smaller or larger value of its list."""
        values = self._tokens(place)
        at = values.index(genome[place])
        steps = [step for step in (at - 1, at + 1) if 0 <= step < len(values)]
        return _replaced(genome, place, values[steps[int(rng.integers(len(steps)))]])

    def _change_activation(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Change the activation of one layer, drawn at random, including the output's if it is a gene."""
        return self._other(int(rng.integers(self._first, self._length)), genome, rng)

    def _change_batch(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Change the batch size by up to `batch_step`."""
        sizes = [size for size in self._near_batches(int(genome[1])) if self.null_mutations or size != genome[1]]
        return _replaced(genome, 1, sizes[int(rng.integers(len(sizes)))])

    def _near_batches(self, size: int) -> range:
        return range(max(self.min_batch, size - self._step), min(self.max_batch, size + self._step) + 1)

    def sample(self, rng: np.random.Generator) -> Genome:
        """Draw every token uniformly and independently."""
        drawn: list[Token] = []
        for position in range(self._length):
            legal = self._tokens(position)
            drawn.append(legal[int(rng.integers(len(legal)))])
        return tuple(drawn)

    def crossover(self, first: Genome, second: Genome, rng: np.random.Generator) -> Genome:
        """Every token from either parent, with equal probability."""
        chosen = (rng.random(self._length) < 0.5).tolist()
        return tuple(a if one else b for one, a, b in zip(chosen, first, second, strict=True))

    def neighbours(self, genome: Genome) -> list[Genome]:
        """One token replaced: the batch size within the range of its mutations, any other by every legal one."""
        found: dict[Genome, None] = {}
        for position, token in enumerate(genome):
            near = self._near_batches(int(token)) if position == 1 else self._tokens(position)
            found |= {_replaced(genome, position, other): None for other in near if other != token}
        return list(found)

    def choices(self, prefix: Genome) -> tuple[Token, ...]:
        return self._tokens(len(prefix))

    def encode(self, genome: Genome) -> np.ndarray:
        """One entry per token: the middle of its share of [0, 1]."""
        legal = [self._tokens(position) for position in range(self._length)]
        return np.array(
            [(tokens.index(token) + 0.5) / len(tokens) for tokens, token in zip(legal, genome, strict=True)]
        )

    def decode(self, vector: np.ndarray) -> Genome:
        """The genome of a vector; entries outside of [0, 1] are clipped. ValueError: wrong shape, or a NaN."""
        entries = np.clip(np.asarray(vector, dtype=np.float64), 0.0, 1.0)
        if entries.shape != (self._length,):
            raise ValueError(f"vector of shape {entries.shape}: expected ({self._length},)")
        if np.isnan(entries).any():
            raise ValueError("vector: holds a NaN")
        tokens: list[Token] = []
        for position, entry in enumerate(entries.tolist()):
            legal = self._tokens(position)
            tokens.append(legal[min(int(entry * len(legal)), len(legal) - 1)])
        return tuple(tokens)

    def validate(self, genome: Genome) -> None:
        if not isinstance(genome, tuple):
            raise ValueError(f"genome of type {type(genome).__name__}: expected a tuple")
        for position in range(max(self._length, len(genome))):
            legal = self._tokens(position)
            found = repr(genome[position]) if position < len(genome) else "the end"
            token = genome[position] if position < len(genome) else None
            if not any(type(token) is type(one) and token == one for one in legal):
                raise ValueError(
                    f"token {position} ({self.name_of(position)}): expected {self._said(position)}; got {found}"
                )

    def name_of(self, position: int) -> str:
        """The name of a position of a genome."""
        names = ("optimizer", "batch size", *self._floats)
        if position < len(names):
            return names[position]
        layer = position - self._first
        return "output activation" if layer == self._layers else f"activation {layer + 1}"

    def _said(self, position: int) -> str:
        """The legal values at a position, for messages."""
        if position == 1:
            return f"a whole number from {self.min_batch} to {self.max_batch}"
        legal = self._tokens(position)
        return f"one of {', '.join(map(str, legal))}" if legal else "the end"

    def format(self, genome: Genome) -> str:
        return "-".join(map(str, genome))

    def parse(self, text: str) -> Genome:
        """The genome of a string. ValueError names the character, counted from 1, and what was expected there."""
        tokens: list[Token] = []
        at = 1
        for position, part in enumerate(text.split("-")):
            token = next((legal for legal in self._tokens(position) if str(legal) == part), None)
            if token is None:
                where = f"character {at} ({self.name_of(position)})"
                raise ValueError(f"{where}: expected {self._said(position)}; got {part[:24]!r}")
            tokens.append(token)
            at += len(part) + 1
        if len(tokens) < self._length:
            position = len(tokens)
            raise ValueError(f"character {at} ({self.name_of(position)}): expected {self._said(position)}; got the end")
        return tuple(tokens)

    def hparams(self, genome: Genome) -> Mapping[str, Any]:
        """Optimizer and batch size, and with `rates=torch` the optimizer's options in torch; genes come last."""
        optimizer = str(genome[0])
        found: dict[str, Any] = {"optimizer": optimizer, "batch_size": genome[1]}
        found |= {"torch": TORCH[optimizer], "published": PUBLISHED[optimizer]}.get(self._rates, {})
        genes = zip(self._floats, genome[2 : self._first], strict=True)
        return found | {name: float(value) for name, value in genes}

    def cost(self, genome: Genome, task: Task) -> Cost:
        if self.model == "genome":
            return self._base.cost(self._base_genome, task)
        return recipe_models.cost_of(recipe_models.layers(self.model, self._widths, task))

    def build(self, genome: Genome, task: Task) -> "torch.nn.Module":
        """The network with the activations of a genome; see `recipe_models.build`."""
        activations = [str(token) for token in genome[self._first : self._first + self._layers]]
        output = str(genome[-1]) if self._outputs else None
        if self.model == "genome":
            return recipe_models.with_activations(self._base.build(self._base_genome, task), activations)
        return recipe_models.build(self.model, self._widths, activations, task, output)


def _replaced(genome: Genome, position: int, token: Token) -> Genome:
    return (*genome[:position], token, *genome[position + 1 :])


def _best_of(run: str) -> tuple[dict[str, Any], str]:
    """The section of the search space and the best genome of a finished run; ValueError, beginning with the key."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from nasrun.storage.stored_config import check_stored, read_stored

    folder = Path(run)
    try:
        stored = read_stored(folder / ".hydra" / "config.yaml")
        check_stored(stored, folder)
        content: Any = OmegaConf.to_container(stored, resolve=True)
        section = content["search_space"]
        genome = json.loads((folder / "best.json").read_text())["genome"]
    except (OSError, ValueError, KeyError, TypeError, ConfigError, OmegaConfBaseException) as error:
        raise ValueError(f"run={run}: no finished run ({type(error).__name__}: {error})") from None
    return dict(section), str(genome)
