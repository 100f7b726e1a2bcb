"""Training sets out of a corpus: random, hard, long, with special vocabulary. `arl mine` is the command."""
