"""The reward stage: reading rollouts, scoring them by programs, totals and advantages."""
