"""From trajectories to diffusion coefficients, conductivity and their temperature dependence: read, fit, say it."""
