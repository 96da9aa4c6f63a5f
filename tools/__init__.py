"""What is done with the notebooks as files: `python -m tools COMMAND`, run in the clone."""
