"""Synthesis by a plain causal LM whose vocabulary has a codec's codes, as it is, and a codec."""
