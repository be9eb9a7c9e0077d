"""The pools of runs: while a run that has an asset of a pool goes on, another one that has waits in the queue.

`dagster.yaml` says that pools bind whole runs. A pool is no matter of speed: two runs at once in one of these would write
the same tables, or search the same studies.
"""

AUDIO = "audio"  # reads the raw bucket and writes the inventories and the feature tables
BUILD = "build"  # searches, registers and publishes models
POOLS = (AUDIO, BUILD)
