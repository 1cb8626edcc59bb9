"""Diffusion from trajectories: time-averaged mean square displacements, and fits with honest error bars."""
