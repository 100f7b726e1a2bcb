"""Warm stages: a stage's process kept resident, so that a job costs neither imports nor the loading of weights.

identity.py says when a worker would do what a cold process does; state.py where workers are; client.py forwards
a command line to one (light: no typer); start.py starts and ends one, control.py several; worker.py runs the jobs;
status.py shows them. Which stages can be warm is in the table `arl.runtime.stages`.
"""
