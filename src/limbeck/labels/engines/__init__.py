"""Label engines, one file each; foreign first-principles packages are imported nowhere else."""
