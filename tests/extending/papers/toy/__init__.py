"""A toy, which shows how a model of one's own comes behind the commands."""
