"""The method, each file reading like the section of a paper that it names."""
