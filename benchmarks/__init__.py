"""Speed claims, each a script that prints its table: ``python -m benchmarks.<name>``."""
