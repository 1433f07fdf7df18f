"""What wrenla reaches beside what a user would take instead, in one run: ``python -m benchmarks --help``."""
