"""Evaluate the newest drift window once more, by hand: `python examples/window_by_hand.py`. The stack is that of GENRE_HOME."""

import sys

import numpy as np

from genre_assets.database import Database
from genre_assets.serving.drift import window_store
from genre_assets.serving.drift.detection import feature_drift
from genre_assets.serving.drift.evaluate import References, sound_items
from genre_assets.settings import load_settings
from genre_assets.store import ObjectStore, s3_client

settings = load_settings()
database = Database(settings.database_url.get_secret_value())
newest = window_store.newest_one(database)
if newest is None:
    sys.exit("no window was evaluated yet")
print(f"kept:    {newest.window.id}: {newest.level}, {newest.reason}")

references = References(ObjectStore(s3_client(settings)), settings)
version = references.version_for(database, newest.window)
if version is None:
    sys.exit("there is no reference")
items = sound_items(window_store.rows(database, newest.window))
drift = feature_drift(
    references.load(version), np.stack(items["features"].tolist()), false_alarm_rate=settings.false_alarm_rate
)
print(f"by hand: {drift.level} in {len(items)} items (p = {drift.p_value:.3g}), against version {version}")
for shift in drift.features[:5]:
    print(f"  {shift.name}: {shift.shift:+.1f} standard errors (q = {shift.q:.3g})")
