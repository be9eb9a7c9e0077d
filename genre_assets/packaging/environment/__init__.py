"""Triton's execution environment: solved, installed, verified, packed (`conda`); its local channel where there is no internet.

Add here: where a package or a Python comes from. Not here: the platform's own code, which travels beside `model.py`.
"""
