"""Write the three lock files from what is installed now; run after changing a dependency and passing ./check.

    .venv/bin/python tools/lock.py

``requirements.lock`` holds what limbeck and its extras need, ``requirements-gpaw.lock`` the label engine that has to be
built, ``requirements-dev.lock`` the test tools. PyTorch is in none of them: ``setup.sh`` installs it first, since which
build is right depends on the machine.
"""

import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = {"limbeck", "torch", "pip"}


def closure(requirements: list[str]) -> dict[str, str]:
    """Name -> installed version of the requirements and of everything that they need on this platform."""
    found: dict[str, str] = {}
    queue = [Requirement(text) for text in requirements]
    while queue:
        requirement = queue.pop()
        name = canonicalize_name(requirement.name)
        extras = requirement.extras or {""}
        if requirement.marker and not any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
            continue
        if name in LEFT_OUT or (name in found and not requirement.extras):
            continue
        distribution = metadata.distribution(requirement.name)
        found[name] = distribution.version
        for text in distribution.requires or []:
            child = Requirement(text)
            if child.marker is None or any(child.marker.evaluate({"extra": extra}) for extra in extras):
                child.marker = None
                queue.append(child)
    return found


def write(name: str, pins: dict[str, str]) -> None:
    """Write one lock file, sorted."""
    lines = [f"{package}=={version}" for package, version in sorted(pins.items())]
    (ROOT / name).write_text("# Written by tools/lock.py; do not edit.\n" + "\n".join(lines) + "\n")


def main() -> None:
    """Write all three."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    shipped = ("sevennet", "chgnet", "tblite", "mdanalysis", "network")
    runtime = [*project["project"]["dependencies"], *(text for name in shipped for text in extras[name])]
    base = closure(runtime)
    gpaw = {k: v for k, v in closure(extras["gpaw"]).items() if k not in base}
    dev = {k: v for k, v in closure(project["dependency-groups"]["dev"]).items() if k not in base}
    write("requirements.lock", base)
    write("requirements-gpaw.lock", gpaw)
    write("requirements-dev.lock", dev)


if __name__ == "__main__":
    main()
