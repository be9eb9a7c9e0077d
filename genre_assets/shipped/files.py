"""Data files that lie outside the package in the checkout: the wheel carries them in `genre_assets/shipped/files`.

`hatch_build.py` puts there what it names, at the same path below; a test compares its names with those asked for here.
"""

from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[2]  # of the checkout; in an installed wheel it is site-packages
SHIPPED = Path(__file__).with_name("files")


def data_file(path: str) -> Path:
    """A file or folder of the project by its path in the checkout, wherever the code is installed."""
    shipped = SHIPPED / path
    return shipped if shipped.exists() else PROJECT_ROOT / path
