"""Models as files that any process can load: `portable` reads and checks them, `graph` is the builder of their graphs.

`portable` is shipped into Triton. Add here: what every exported model has. Not here: a family's own graph, or anything
that needs a training library.
"""
