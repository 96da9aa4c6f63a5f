"""What is done with the notebooks as files: `python -m unbraid.course COMMAND`."""
