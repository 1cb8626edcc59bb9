"""Quantum impurities: correlated orbitals in a bath, by configurations that are chosen."""
