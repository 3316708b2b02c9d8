"""Options and their types: the signature of a class is the schema of its YAML.

The options of a class are the keyword-only arguments of its constructor, with settings objects replaced by their
fields. Annotations define the allowed values: `int`, `float`, `bool`, `str`, `Literal[...]`, `list[...]`, `tuple[...,
...]`, unions, and `Annotated[...]` with one of the rules below.
"""

from nasrun.core.options.errors import ConfigError, TextExpectedError
from nasrun.core.options.rules import Above, AtLeast, Between, FilePath, Fraction, IsPath, NotEmpty, Positive
from nasrun.core.options.sections import plain
from nasrun.core.options.signature import check_options, check_section, gathered, options, paths
from nasrun.core.options.text import (
    brief,
    error_line,
    first_line,
    flat,
    join,
    nearest,
    parts_of,
    printable,
    shell_command,
    show,
    type_and_text,
    typed,
)
from nasrun.core.options.values import check_value, decoded, describe, from_text

__all__ = [
    "Above",
    "AtLeast",
    "Between",
    "ConfigError",
    "FilePath",
    "Fraction",
    "IsPath",
    "NotEmpty",
    "Positive",
    "TextExpectedError",
    "brief",
    "check_options",
    "check_section",
    "check_value",
    "decoded",
    "describe",
    "error_line",
    "first_line",
    "flat",
    "from_text",
    "gathered",
    "join",
    "nearest",
    "options",
    "parts_of",
    "paths",
    "plain",
    "printable",
    "shell_command",
    "show",
    "type_and_text",
    "typed",
]
