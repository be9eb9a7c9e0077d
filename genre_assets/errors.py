"""The few error types of the platform.

Every message says what was wrong, where, and what to do about it. The command line prints the message alone
(no traceback) for any `GenreError`; sensors retry `TransientFailure` and alert on `PermanentFailure`.
"""


class GenreError(Exception):
    """Base of every error that is meant for a person."""


class BadInput(GenreError):
    """What the user gave cannot be used: a file, a folder, a table, a setting."""


class NoStack(BadInput):
    """A command knows no stack to act on: it has touched nothing. Exit code 2."""


class DamagedObject(BadInput):
    """A stored object is not what it should be: cut off, or written by something else."""


class PermanentFailure(GenreError):
    """Trying again without a change cannot help."""


class TransientFailure(GenreError):
    """A service did not answer, or not in time: the same call may succeed later."""


class Interrupted(KeyboardInterrupt):
    """Somebody pressed Ctrl-C: what goes on without the command, or is kept, and what to do. Its text is all that is said."""
