"""Imports the modules that a file lists, so that Python leaves their bytecode, and that of all they import, beside them.

Bytecode of everything that is installed would weigh twice as much as that of what is ever imported. A module that cannot be
imported stops the build.
"""

import importlib
import sys
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
for name in Path(sys.argv[1]).read_text().split():
    importlib.import_module(name)
