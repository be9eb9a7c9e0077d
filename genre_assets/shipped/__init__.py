"""What comes with the code and is no code: data files (`files`), and the servers that no dependency can bring (`servers`, `wheels`).

Add here: what an installation without the checkout would lack. Not here: starting a server, which is the stack's business.
"""
