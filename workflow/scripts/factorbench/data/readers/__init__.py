"""Readers: raw files -> AnnData with counts and the labels as they were found. One file a format.

``SPEC`` names the reader and its options; ``read(files, options)`` gets paths by the keys of the config's ``files``.
A reader that need not hold all cells at once has ``blocks``, which takes the same and yields them block by block.
"""
