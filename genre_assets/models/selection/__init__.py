"""Which model is champion and which the fallback: the gate (`select`), robustness, objections, rollback.

`champion` is where the rules meet the registry. Add here: a rule, as a pure function, and its use. Not here: when a
route is switched; that is promotion, in the serving stage.
"""
