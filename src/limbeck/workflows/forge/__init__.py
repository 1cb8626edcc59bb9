"""Forge: fine-tune a teacher on few labels, distil it into a student, validate, run, report."""
