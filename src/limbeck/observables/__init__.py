"""Observables: what is read out of trajectories. Plain NumPy; imports neither dynamics nor potentials."""
