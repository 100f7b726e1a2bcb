"""`arl report --html`: one page of a run, without a network, from its records, evaluations and shards alone.

history.py reads the steps, curves.py, verdict.py, examples.py, making.py and card.py say what the page shows, and
build.py puts it into page.html with style.css and page.js.
"""
