"""``limbeck impurity``: ground state and spectra of an impurity model from a file."""
