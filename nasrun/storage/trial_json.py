"""Proposals and measurements as JSON objects in events of a journal."""

import math
from sys import intern
from typing import Any

from nasrun.core import Measurement, Proposal
from nasrun.storage.journal import Line

_REQUIRED = object()
_PROPOSAL = [(name, Proposal._field_defaults.get(name, _REQUIRED)) for name in Proposal._fields]
_MEASUREMENT = [(name, Measurement._field_defaults.get(name, _REQUIRED)) for name in Measurement._fields]


def _once(value: Any) -> Any:
    """The value; equal strings, of which a journal has millions, are shared."""
    return intern(value) if value.__class__ is str else value


def proposal_to_json(proposal: Proposal) -> Line:
    """A proposal as a JSON object, without fields at their defaults."""
    named = zip(_PROPOSAL, proposal, strict=True)
    return {name: value for (name, default), value in named if value != default}


def proposal_from_json(fields: Line) -> Proposal:
    """The proposal that `proposal_to_json` wrote."""
    tokens = fields["genome"]
    values = {**fields, "genome": tuple([intern(token) if token.__class__ is str else token for token in tokens])}
    if "partners" in values:
        values["partners"] = tuple(values["partners"])
    if "origin" in values:
        values["origin"] = _once(values["origin"])
    if values.get("parent") == -1:  # written by earlier versions for children of rejected proposals
        values["parent"] = None
    return Proposal(**values)


def measurement_to_json(measurement: Measurement) -> Line:
    """A measurement as a JSON object, without fields at their defaults."""
    named = zip(_MEASUREMENT, measurement, strict=True)
    return {name: value for (name, default), value in named if value != default}


def measurement_from_json(fields: Line) -> Measurement:
    """The measurement that `measurement_to_json` wrote; keys of the event itself are ignored."""
    found = [fields.get(name, default) for name, default in _MEASUREMENT]
    if _REQUIRED in found:
        raise KeyError("trial, repeat or status")
    found[2] = _once(found[2])
    measurement = Measurement._make(found)
    if measurement.metrics and not all(map(math.isfinite, measurement.metrics.values())):
        raise ValueError(f"a metric of trial {measurement.trial} is not a finite number")
    return measurement
