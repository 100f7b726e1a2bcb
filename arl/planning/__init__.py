"""What a run needs before it runs: memory of each stage by formula, and what it spends its operations on. No torch."""
