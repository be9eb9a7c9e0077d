"""The clients: one `core` that says what is asked and what comes of it; by threads (`sync`) or with asyncio (`aio`).

Add here: what an application needs to ask the ensemble. Both clients differ by their input and output only: what is to be
done is a step of the core, which each does in its way, over gRPC or HTTP. Not here: anything that knows how answers are made.
"""
