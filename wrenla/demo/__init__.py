"""Demonstrations: computations of a real size, with data that are at hand."""
