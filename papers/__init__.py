"""What makes results/: `python -m papers COMMAND`, run in the clone."""
