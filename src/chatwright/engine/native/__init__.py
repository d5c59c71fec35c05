"""The compiled runner for CPUs: C that the machine's own compiler turns into code for its own processor, once.

`build.py` compiles, `runner.py` runs. Where there is no compiler the engine computes with PyTorch instead and says so.
"""
