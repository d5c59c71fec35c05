"""Clean documents of the corpus, one module a kind."""
