"""The nouns of nasrun: what a run is made of. Nothing else of nasrun is imported here.

A run asks a strategy for proposals, numbers them as trials, cuts each trial into jobs (one per repeat),
hands the jobs to an executor whose evaluator measures them, and tells the strategy what was measured.
"""

from nasrun.core.interfaces import Evaluator, Executor, SharedEvaluator, Strategy, StrategyWrapper
from nasrun.core.search_space import SearchSpace
from nasrun.core.types import (
    CellGraph,
    Cost,
    Derivation,
    Genome,
    Job,
    Kind,
    Measurement,
    Morphing,
    Mutation,
    Objective,
    Origin,
    Progress,
    Proposal,
    Status,
    Task,
    Token,
    Trial,
    WarmStart,
    WorkerState,
)

__all__ = [
    "CellGraph",
    "Cost",
    "Derivation",
    "Evaluator",
    "Executor",
    "Genome",
    "Job",
    "Kind",
    "Measurement",
    "Morphing",
    "Mutation",
    "Objective",
    "Origin",
    "Progress",
    "Proposal",
    "SearchSpace",
    "SharedEvaluator",
    "Status",
    "Strategy",
    "StrategyWrapper",
    "Task",
    "Token",
    "Trial",
    "WarmStart",
    "WorkerState",
]
