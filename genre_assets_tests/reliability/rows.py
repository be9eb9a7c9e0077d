"""What goes wrong, what the platform does then, what is left for a person, and the tests that really do it."""

from genre_assets_tests.reliability.rows_of_platform import DEPENDENCIES, RUNS, SERVICES
from genre_assets_tests.reliability.rows_of_use import COMMANDS, INPUT, MODELS

ROWS = (*SERVICES, *RUNS, *DEPENDENCIES, *INPUT, *MODELS, *COMMANDS)
