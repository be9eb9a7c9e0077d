"""The clients: one core (`wire`), by threads (`sync`) or with asyncio (`aio`), over gRPC or HTTP.

Add here: what an application needs to ask the ensemble; both clients differ by their input and output only. Not here:
anything that knows how answers are made.
"""
