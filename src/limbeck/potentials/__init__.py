"""Potentials: universal teachers, their fine-tuning, fast students, and what both are validated on."""
