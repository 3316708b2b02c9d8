"""Fonts for characters that the usual font of plots lacks, such as Chinese class names."""

import warnings
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

USUAL = "DejaVu Sans"
"""matplotlib's own font."""
LAST_RESORT = "Last Resort"
"""How the font of matplotlib is called that has a box for every character there is."""


def render_figure(figure: "Figure", draw: Callable[[], object]) -> None:
    """Draw a figure by `draw`, again with further fonts if characters were missing.

    A character that no font of this machine has is drawn as an empty box, without a warning.
    """
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        draw()
        missing = any("missing from" in str(one.message) for one in said)
        if missing and _give_fonts(figure):
            draw()
    for one in said:
        if "missing from" not in str(one.message):
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


def _give_fonts(figure: "Figure") -> bool:
    """Give the texts of a figure fonts for characters that the usual one lacks; returns whether there are any."""
    from matplotlib.text import Text

    found = False
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        names = dict.fromkeys(name for letter in text.get_text() for name in _fonts_with(letter))
        if names:
            text.set_fontfamily([USUAL, *names])
            found = True
    return found


@cache
def _fonts_with(letter: str) -> tuple[str, ...]:
    """The first installed font, by name, that has a character; empty for one that the usual font has, or none has."""
    from matplotlib import font_manager

    if font_manager.get_font(font_manager.findfont(USUAL)).get_char_index(ord(letter)):
        return ()
    # In the order of names, since that of the list is the file system's.
    for entry in sorted(font_manager.fontManager.ttflist, key=lambda entry: (entry.name, entry.fname)):
        if entry.name.startswith(LAST_RESORT):
            continue
        try:
            if font_manager.get_font(entry.fname).get_char_index(ord(letter)):
                return (entry.name,)
        except (OSError, RuntimeError):  # a listed font that is missing or damaged
            continue
    return ()
