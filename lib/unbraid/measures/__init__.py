"""What is measured on codes: arrays in, numbers with their uncertainty out; no model is known here."""
