"""Chatwright: the whole life of a ChatGPT in one package."""

__version__ = "0.1.0"
