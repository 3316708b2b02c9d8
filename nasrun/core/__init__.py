"""The types and interfaces that make up a run. This package imports no other package of nasrun.

A run asks a strategy for proposals, numbers them as trials, cuts each trial into jobs (one per repeat),
hands the jobs to an executor whose evaluator measures them, and passes the measurements to the strategy.
"""

from nasrun.core.evaluator import Evaluator, EvaluatorWrapper, SharedEvaluator
from nasrun.core.executor import Executor
from nasrun.core.search_space import SearchSpace
from nasrun.core.strategy import Strategy, StrategyWrapper
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
    "EvaluatorWrapper",
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
