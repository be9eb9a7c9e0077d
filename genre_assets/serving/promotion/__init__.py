"""Who serves: the state machine (`policy`), its table (`route_state`), what was asked for (`moves`), runs and retraining.

Add here: a reason to move the route, or to keep it. Not here: moving it in the server (`rollout`), finding drift (`drift`).
"""
