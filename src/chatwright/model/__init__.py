"""Tokenizer, chat template, decoder and checkpoints: what a model is, without loops over data."""
