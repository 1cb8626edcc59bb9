"""Teachers, one file each: universal force fields; foreign model packages are imported nowhere else."""
