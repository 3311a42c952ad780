"""The method. Each file reads like the section of the paper that it names."""
