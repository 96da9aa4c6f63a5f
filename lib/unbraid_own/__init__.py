"""For one's own work: measures on anybody's codes, and training on one's own data, with a page.

`measure.measure` judges named codes. `own_data.load`, `own_training.choose` and `.train` make a
model of films, recordings, arrays or tables, and `own_report.write` a page about it. The package
imports `unbraid`; of the course only notebook 42 imports it.
"""
