"""Evaluation of a synthesis policy: what its speech says, in whose voice, how natural and how varied."""
