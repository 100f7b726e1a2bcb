"""Text: normalisation, and error rates with their alignment."""
