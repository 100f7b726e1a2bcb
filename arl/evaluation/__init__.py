"""What `arl eval` is made of: sets, decoding or given transcripts, scores, figures with intervals, comparisons."""
