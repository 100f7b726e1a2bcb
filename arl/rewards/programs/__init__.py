"""Reward programs: the contract (stages/README.md), and the ways to run one: in process or as a child."""
