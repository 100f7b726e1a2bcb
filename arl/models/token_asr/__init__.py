"""A recogniser of acoustic tokens: the differentiable reward of DiffRO."""
