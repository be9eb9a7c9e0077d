"""Signal processing over arrays: resampling, spectra, separation, rhythm, filter banks, and the optional kernel in C.

Pure functions of samples, with shapes and units in their docstrings; the kernel gives what NumPy gives. Add here: a
transform that a feature set needs. Not here: files, settings, names of columns.
"""
