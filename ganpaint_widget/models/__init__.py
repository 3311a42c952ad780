"""Generators and what is made for each of them; everything else reaches a generator through these files."""
