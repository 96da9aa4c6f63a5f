"""What is measured on codes and on what is decoded from them; no data and no training in here.

Arrays go in, and numbers with their uncertainty come out: information, leakage, judges, error
rates and prediction.
"""
