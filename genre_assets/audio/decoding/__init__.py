"""From a file to mono samples, and to the segments of a clip; what is refused, and by which reason.

`decode` is the way in. Plain samples are read by `wav`; every other format in a process without secrets: `sandbox`,
`sandbox_process` and, inside it, `sandbox_worker`, `sandbox_limits`, `sndfile`, `av`. Add here: a container, a codec, a
reason. Not here: anything about the sound itself (`dsp`), or about objects and keys (`tables`).
"""
