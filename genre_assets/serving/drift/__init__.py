"""Drift: windows of answered items against the reference of the model that answered, with a stated false-alarm rate.

Pure, in reading order: `windows` (cutting the log), `reference` (what is normal), `mix` (which genres a window holds),
`null` (how far windows stray with no drift at all), `detection` (is this one further away?), `answers`, `findings` (the
verdict in words), `report` (for people's eyes). Over the database and the store: `window_store`, `window_reports`,
`shadow`, `evaluate`, `pages`. Add here: a property of a window. Not here: what follows from it (`promotion`), or Dagster.
"""
