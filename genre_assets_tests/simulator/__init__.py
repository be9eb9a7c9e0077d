"""A simulator of the control loop: the real functions, driven by a seed through faults of every kind."""
