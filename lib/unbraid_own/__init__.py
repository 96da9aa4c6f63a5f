"""For one's own work: measures on anybody's codes, and training on one's own data, with a page.

`measure.measure` judges named codes. The package imports `unbraid`; of the course only notebook 42
imports it.
"""
