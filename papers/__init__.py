"""What makes results/: `python -m papers COMMAND`, run in the clone.

a/, b/ and c/ make results/independent, unordered and single_element, side_by_side/ the benchmark.
"""
