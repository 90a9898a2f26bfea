"""Readers: raw files -> AnnData with counts, and labels as they are in the files. One file per format.

``SPEC`` names the reader and its options. ``read(files, options)`` gets paths by the keys of the config's ``files``.
A reader that does not need all cells in memory also has ``blocks``, which takes the same and yields blocks of cells.
"""
