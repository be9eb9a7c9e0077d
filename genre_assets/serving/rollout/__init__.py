"""A published release goes live: files, loading, golden clips, and making disk, server and books agree again.

`live` is the way in. Add here: a step between a release and its first answer. Not here: deciding who should serve.
"""
