"""Proposals and measurements as JSON objects, as events of a journal hold them."""

import math
from sys import intern
from typing import Any

from nasrun.core import Measurement, Proposal
from nasrun.storage.journal import Line

_REQUIRED = object()
_PROPOSAL = [(name, Proposal._field_defaults.get(name, _REQUIRED)) for name in Proposal._fields]
_MEASUREMENT = [(name, Measurement._field_defaults.get(name, _REQUIRED)) for name in Measurement._fields]


def _once(value: Any) -> Any:
    """The value; of equal texts, of which a journal has millions, one."""
    return intern(value) if value.__class__ is str else value


def proposal_to_json(proposal: Proposal) -> Line:
    """A proposal as a JSON object; fields at their defaults are left out."""
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
    if values.get("parent") == -1:  # earlier versions gave that to children of what was turned down
        values["parent"] = None
    return Proposal(**values)


def measurement_to_json(measurement: Measurement) -> Line:
    """A measurement as a JSON object; fields at their defaults are left out."""
    named = zip(_MEASUREMENT, measurement, strict=True)
    return {name: value for (name, default), value in named if value != default}


def measurement_from_json(fields: Line) -> Measurement:
    """The measurement that `measurement_to_json` wrote; keys that belong to the event alone are passed over."""
    found = [fields.get(name, default) for name, default in _MEASUREMENT]
    if _REQUIRED in found:
        raise KeyError("trial, repeat or status")
    found[2] = _once(found[2])
    measurement = Measurement._make(found)
    if measurement.metrics and not all(map(math.isfinite, measurement.metrics.values())):
        raise ValueError(f"a metric of trial {measurement.trial} is no finite number")
    return measurement
