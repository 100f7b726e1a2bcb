"""`arl eval` and `arl report`: metrics of recognition and synthesis, their statistics, the report of a run."""
