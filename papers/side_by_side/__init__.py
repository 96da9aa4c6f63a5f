"""The rivals of the benchmark: models beside papers A, B and C, under the same interface."""
