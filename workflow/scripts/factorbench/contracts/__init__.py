"""What passes between two rules: names, shapes, units and checks of every file, one module per contract.

Files are checked when they are written and when they are read, so an error shows up in the rule that caused it.
Only numpy, pandas and anndata are needed.
"""
