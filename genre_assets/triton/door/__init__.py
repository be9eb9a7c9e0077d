"""The process before Triton: `python -m genre_assets.triton.door`.

`rules` says what is kept from the server, `http` and `grpc` pass everything else on as it came. Add here: a rule, with the
request that shows its need. Not here: reading what a request means; it is Triton's to answer.
"""
