"""Where data comes from (`corpora`) and which of it to train on (`mining`)."""
