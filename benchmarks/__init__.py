"""Benchmarks: `python -m benchmarks.NAME` from a checkout, `--quick` for a smaller run.

Absolute figures say as much about the machine as about jobctl; what to read are the ratios, both sides
of which come from one run, in turns.
"""
