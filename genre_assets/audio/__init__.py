"""Stage 1, S3 -> features: the inventory of the bucket, and a row of features for each segment.

`extract` is the only feature code, here and inside Triton. Rooms: `decoding`, `dsp`, `feature_sets`, `recordings`,
`tables`, `arrivals`, `workers`. Add here: an asset, check or sensor of the stage. Not here: what a room can hold.
"""
