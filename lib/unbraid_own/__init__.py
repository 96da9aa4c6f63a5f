"""For one's own work: measures on anybody's codes, and training on one's own data, with a page.

`measure.measure` judges named codes. `data.load`, `train.choose`, `train.train` and `codes.encode`
make codes of clips or of a table of series, and `codes.swap` judges swaps.
"""
