"""For one's own work: measures on anybody's codes, and training on one's own data, with a page.

It imports `unbraid`, and nothing of the course but notebook 42 imports it.
"""
