"""One run: a method fitted to a dataset with a seed, timed, in a process of its own.

``python -m factorbench.runs results/runs/<dataset>/<method>/<seed>/job.json`` repeats a run by hand; the workflow uses
the same command.
"""
