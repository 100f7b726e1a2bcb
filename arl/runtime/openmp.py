"""How OpenMP threads wait. Light: every command line imports it, before torch."""

import os

# OpenMP threads that wait by spinning keep each other from running where another program has a core: on two busy
# cores an update took 38 s so, and 7 with these. Read when torch is loaded.
PATIENT_THREADS = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}


def make_threads_patient() -> None:
    """Has OpenMP threads sleep while they wait, unless the environment says otherwise. Before torch is loaded."""
    for name, value in PATIENT_THREADS.items():
        os.environ.setdefault(name, value)
