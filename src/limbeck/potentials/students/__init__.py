"""Students, one file each: fast potentials that LAMMPS runs."""
