"""How the models of each part of the course are measured: a module a part, on the instruments of `unbraid.measures`."""
