"""Listening: what people say of answers, in words, by what they do, and by choosing between two."""
