"""Structures: builders, perturbation, checks, and reading of structure files. The currency is ``ase.Atoms``."""
