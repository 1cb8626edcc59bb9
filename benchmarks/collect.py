"""Gather the claims of the benchmarks into metrics.json: rows of other files under the claims' names.

.venv/bin/python benchmarks/collect.py
"""

from pathlib import Path

from limbeck.core.record import read_json, write_json

HERE = Path(__file__).parent
CLAIMS = {
    "diffusion-coverage-68": ("diffusion_calibration.json", "diffusion-coverage-68"),
    "diffusion-coverage-95": ("diffusion_calibration.json", "diffusion-coverage-95"),
    "diffusion-variance-to-bound": ("diffusion_calibration.json", "diffusion-variance-to-bound"),
    "diffusion-rare-event-coverage": ("diffusion_calibration.json", "diffusion-rare-event-coverage"),
    "diffusion-small-ms": ("diffusion_peers.json", "diffusion-32x400-limbeck-ms"),
    "diffusion-speedup-kinisi": ("diffusion_peers.json", "diffusion-32x400-speedup-kinisi"),
    "diffusion-large-s": ("diffusion_peers.json", "diffusion-large-s"),
    "diffusion-large-rss-gb": ("diffusion_peers.json", "diffusion-large-rss-gb"),
    "impurity-u0-error": ("impurity_ground.json", "impurity-u0-error"),
    "impurity-31-u8": ("impurity_ground.json", "impurity-31-u8-ci-20000"),
    "impurity-speed-to-block2": ("impurity_ground.json", "impurity-15-u2-speed-to-block2"),
    "impurity-spectrum-error": ("impurity_ground.json", "impurity-spectrum-error-19"),
    "impurity-nio-deviation": ("impurity_absorption.json", "impurity-nio-deviation"),
    "impurity-nio-s": ("impurity_absorption.json", "impurity-nio-limbeck-s"),
    "impurity-vit-15-1000": ("impurity_network.json", "impurity-vit-15-1000"),
    "impurity-vit-15-5000": ("impurity_network.json", "impurity-vit-15-5000"),
    "impurity-vit-3x3-5000": ("impurity_network.json", "impurity-vit-3x3-5000"),
    "impurity-vit-3x5": ("impurity_network.json", "impurity-vit-3x5"),
    "impurity-speedup-netket": ("impurity_netket.json", "impurity-netket-2x16-speedup"),
    "impurity-spectrum-speedup-dmrg": ("impurity_spectrum.json", "impurity-spectrum-15-time-to-ours"),
    "impurity-mno-s": ("impurity_absorption.json", "impurity-mno-limbeck-s"),
}
"""Name of a claim: file and row that hold it."""


def main() -> None:
    """Write metrics.json."""
    rows = []
    for claim, (name, row) in CLAIMS.items():
        path = HERE / name
        found = [r for r in (read_json(path) if path.exists() else []) if r["id"] == row]
        rows += [r | {"id": claim} for r in found]
    write_json(HERE / "metrics.json", rows)


if __name__ == "__main__":
    main()
