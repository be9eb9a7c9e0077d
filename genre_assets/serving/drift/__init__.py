"""Drift: pure statistics over arrays, and the asset and checks that state their verdicts.

In reading order: `windows` (cutting the log), `reference` (what is normal), `mix` (which genres a window holds), `null`
(how far windows stray with no drift at all), `verdict` (is this one further away?), `findings` (the verdict in words),
`report` (for people's eyes). None of these knows a database, an object store or Dagster; `assets` and `checks` are the
only ones that do.
"""
