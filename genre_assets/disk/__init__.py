"""Files of this machine: how one is written so that no reader, and no process after a kill, finds half of it (`whole`).

Add here: what is true of any file on a disk, by the standard library alone, for Triton's processes and the keepers of
containers use it. Not here: whose file it is and what it says; objects of S3 (`store`).
"""
