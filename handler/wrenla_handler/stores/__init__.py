"""Stores for tiles behind one small contract: memory, a folder, an S3 prefix.

Import from the modules: two threads that import two modules of a package first, which itself imports them,
would wait for each other, and Python refuses one of the imports.
"""
