"""Dynamics: molecular dynamics by ASE (any potential) and by LAMMPS (students, at scale)."""
