"""Claims about quality and speed, measured: ``python -m benchmarks.NAME --help``."""
