"""The command line: parse, call one workflow, show."""

from limbeck.cli import about, diffusion, forge, impurity
from limbeck.cli.app import app, main

__all__ = ["about", "app", "diffusion", "forge", "impurity", "main"]
