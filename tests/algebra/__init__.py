"""A package, so that its tests can share what stands beside them."""
