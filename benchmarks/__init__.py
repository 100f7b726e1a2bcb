"""`make bench`: what arl costs beside what it replaces, one script per question; nothing in arl/ imports this.

measure.py, models.py and per_row.py are shared; run.py runs the scripts one after another and writes the tables.
"""
