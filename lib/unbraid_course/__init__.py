"""What a page needs around the methods: exercises, guesses, workshops, chapters as modules."""
