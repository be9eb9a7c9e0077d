"""The contract with a Triton server: names and shapes (`protocol`), administration (`control`), the server's program.

`binary` starts the wheel's server, `scratch` runs one for a moment, `leftovers` clears what a killed one leaves; `client/`
asks, `door/` stands before it. Add here: what both sides of the wire must agree on, and whatever speaks to a server. Not
here: audio, models, releases, or how a server is supervised (`stack`).
"""
