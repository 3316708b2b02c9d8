"""Write the API reference: HTML pages of the public interface, made by pdoc from its docstrings.

    python scripts/make_reference.py [FOLDER]

A warning of pdoc is an error, so that nothing is left out silently.
"""

import argparse
import warnings
from pathlib import Path

import nasrun

FOLDER = Path(__file__).resolve().parent.parent / "build" / "reference"
MODULES = ("nasrun", "nasrun.core", "nasrun.datasets", "nasrun.storage.records")
"""The functions and classes for users; the interfaces and their types; splits; observers of a run."""


def main() -> None:
    """Write all pages, and treat every warning as an error."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    text = f"default: {FOLDER.relative_to(FOLDER.parent.parent)}, in the checkout"
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER, metavar="FOLDER", help=text)
    folder: Path = parser.parse_args().folder
    import pdoc
    import pdoc.render

    for name in nasrun.__all__:
        getattr(nasrun, name)  # pdoc sees only imported names, and these are imported on first use
    pdoc.render.configure(docformat="google", footer_text=f"nasrun {nasrun.__version__}", show_source=False)
    warnings.simplefilter("error")
    pdoc.pdoc(*MODULES, output_directory=folder)
    print(f"wrote {folder / 'index.html'}")


if __name__ == "__main__":
    main()
