"""Evaluation of a recognition policy: word errors, keywords and hallucinations of its greedy transcripts."""
