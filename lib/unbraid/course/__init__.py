"""What notebooks need: figures, films and exercises. The rest of the library imports none."""
