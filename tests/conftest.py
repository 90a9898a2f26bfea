"""One thread for every test process: the matrices are small, and more threads would wait for each other."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch or numpy is imported
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
