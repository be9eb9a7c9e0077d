"""The steps of every action that changes more than one thing, named: a process may die between any two of them.

Each action says `reached(step)` after a step is done. In production that does nothing. With GENRE_CRASH_AFTER=<step>
the process kills itself there, which is how the tests go through them all: they enumerate `Step`, so that a step that
is added here without a test fails, as does one that no action reaches. A simulation watches the steps with `watch`.
"""

import os
import signal
from collections.abc import Callable
from enum import StrEnum

CRASH_AFTER = "GENRE_CRASH_AFTER"
_watcher: "Callable[[Step], None] | None" = None


class Step(StrEnum):
    """What has just been done, as `action: step`, in the order in which it is done."""

    FEATURES_ROWS = "features: rows that are computed and in no table yet are kept"
    FEATURES_CHECKPOINT = "features: work that is done is kept"
    FEATURES_INDEX = "features: the index of recordings follows the files"
    FEATURES_QUARANTINE = "features: the quarantine of a genre is written"
    FEATURES_INVENTORY = "features: the inventory of a genre is written"
    FEATURES_CLAIM = "features: the claim of an inventory is written"
    FEATURES_SETTLED = "features: the index knows that the verdicts are written"
    FEATURES_TABLE = "features: the table of a genre is written"
    FEATURES_MANIFEST = "features: its manifest is written"
    FEATURES_SWEPT = "features: objects of a table that it has no more are removed"
    FEATURES_FORGET = "features: rows that were kept until the tables had them are removed"
    REGISTER_UPLOAD = "register: the model is uploaded and there is a name to register it under"
    REGISTER_VERSION = "register: the version is made"
    REGISTER_RECORD = "register: the move of an alias is recorded, not committed"
    REGISTER_ALIAS = "register: the alias is moved"
    REGISTER_COMMIT = "register: the record is committed"
    PUBLISH_GATE = "publish: what the gate found is written"
    PUBLISH_FILES = "publish: the files are uploaded"
    PUBLISH_MANIFEST = "publish: the manifest is uploaded"
    PUBLISH_CURRENT = "publish: the release is named the newest"
    PUBLISH_FORGET = "publish: the manifest of an old release is removed"
    PROMOTE_REQUEST = "promote: the move is requested"
    PROMOTE_FETCH = "promote: the release is fetched"
    PROMOTE_STAGE = "promote: the release is verified and has its environment"
    PROMOTE_ROUTE = "promote: the route is written"
    PROMOTE_LINK = "promote: the link points to the release"
    PROMOTE_LOAD = "promote: the server has taken it in"
    PROMOTE_GOLDEN = "promote: the golden clips are answered"
    PROMOTE_BOOK = "promote: the move is booked, not committed"
    PROMOTE_COMMIT = "promote: the booking is committed"
    SHIP_APPEND = "ship: rows are appended to a segment"
    SHIP_CLOSE = "ship: the segment is closed"
    SHIP_INSERT = "ship: its rows are in the table"
    SHIP_ASIDE = "ship: its refused rows are set aside"
    SHIP_DELETE = "ship: the segment is deleted"
    LABELS_INTENT = "labels: what will be copied and removed is written down"
    LABELS_GROUPS = "labels: the groups of the clips are written"
    LABELS_COPY = "labels: a labelled clip is copied to its label"
    LABELS_DONE = "labels: the copy is recorded"
    LABELS_REMOVE = "labels: the copy under a former label is removed"
    LABELS_FORGET = "labels: its record is removed"

    @property
    def action(self) -> str:
        """The word before the colon."""
        return self.partition(":")[0]


def reached(step: Step) -> None:
    """Say that a step is done."""
    if _watcher is not None:
        _watcher(step)
    if os.environ.get(CRASH_AFTER) == step.value:
        os.kill(os.getpid(), signal.SIGKILL)


def watch(watcher: Callable[[Step], None] | None) -> None:
    """Call `watcher` after each step, in the thread that did it; None ends that."""
    global _watcher
    _watcher = watcher
