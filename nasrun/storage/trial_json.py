"""Proposals and measurements as JSON objects, as events of a journal hold them."""

import math

from nasrun.core import Measurement, Proposal
from nasrun.storage.journal import Line

_REQUIRED = object()
_PROPOSAL = [(name, Proposal._field_defaults.get(name, _REQUIRED)) for name in Proposal._fields]
_MEASUREMENT = [(name, Measurement._field_defaults.get(name, _REQUIRED)) for name in Measurement._fields]


def proposal_to_json(proposal: Proposal) -> Line:
    """A proposal as a JSON object; fields at their defaults are left out."""
    named = zip(_PROPOSAL, proposal, strict=True)
    return {name: value for (name, default), value in named if value != default}


def proposal_from_json(fields: Line) -> Proposal:
    """The proposal that `proposal_to_json` wrote."""
    partners = tuple(fields.get("partners", ()))
    # Earlier versions gave children of what was turned down a parent of -1.
    parent = None if fields.get("parent") == -1 else fields.get("parent")
    return Proposal(**{**fields, "genome": tuple(fields["genome"]), "partners": partners, "parent": parent})


def measurement_to_json(measurement: Measurement) -> Line:
    """A measurement as a JSON object; fields at their defaults are left out."""
    named = zip(_MEASUREMENT, measurement, strict=True)
    return {name: value for (name, default), value in named if value != default}


def measurement_from_json(fields: Line) -> Measurement:
    """The measurement that `measurement_to_json` wrote; keys that belong to the event alone are passed over."""
    measurement = Measurement(**{name: fields[name] for name in Measurement._fields if name in fields})
    if measurement.metrics and not all(map(math.isfinite, measurement.metrics.values())):
        raise ValueError(f"a metric of trial {measurement.trial} is no finite number")
    return measurement
