"""limbeck: distil a universal force field into one for your material, run it, read the physics out.

Start at :mod:`limbeck.workflows.forge` (the main path) or with ``limbeck --help``.
"""

__version__ = "0.1.0"
