"""Generators: the staged interface, the architectures behind it, and reading their weights."""
