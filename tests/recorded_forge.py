"""A forge whose stages are recorded and not done: what each one's hash depends on can be seen in no time."""

from dataclasses import dataclass

import numpy as np
from ase.build import bulk

from limbeck.core.progress import SilentReporter
from limbeck.core.record import hash_of, to_jsonable, write_json, write_text
from limbeck.labels.labelled import Fingerprint, Labelled
from limbeck.workflows.forge.context import Forge
from limbeck.workflows.forge.frames import write_labelled
from limbeck.workflows.forge.run import do_stages
from limbeck.workflows.stages import StageResult, StageRunner

ENGINE = Fingerprint("emt", "1", {}, {}, {"functional": "EMT", "hubbard": {}, "dispersion": "none"})


def label(trajectory, fingerprint=ENGINE, role="pool"):
    atoms = bulk("Cu", "fcc", a=3.6)
    atoms.info.update(trajectory=trajectory, role=role)
    return Labelled(atoms, -1.0, np.zeros((1, 3)), np.zeros(6), fingerprint)


@dataclass
class RecordingRunner(StageRunner):
    """Does the first structures for true; of every other stage it leaves files that are as unique as its hash."""

    def run(self, name, inputs, work, *, title):
        digest = hash_of([name, to_jsonable(inputs)])
        folder = self.run_folder / "stages" / name
        folder.mkdir(parents=True, exist_ok=True)
        if name == "10-structures":
            work(folder)
        write_text(folder / "teacher.limbeck", digest)
        write_labelled(folder / "labelled.json", [label(digest)])
        student = folder.relative_to(self.run_folder) / "pod"
        write_json(folder / "pod" / "student.json", {"kind": "pod", "pair_style": {}, "files": {"pod": digest}})
        summary = {
            "name": "stub", "elements": ["Cu", "Au", "Al"], "teacher_sha256": digest, "passed": False, "errors": {},
            "trajectories": [], "chosen": "pod", "students": [{"name": "pod", "folder": str(student), "stable": True}],
        }  # fmt: skip
        if name == "58-choose":  # the student is the one that was fitted
            summary["students"] = self.results[-1].summary["students"]
        result = StageResult(name, folder, digest, summary, 0.0, 0.0)
        self.results.append(result)
        return result


def stage_hashes(settings, run_folder):
    """Stage -> hash, for a run with these settings."""
    runner = RecordingRunner(run_folder, SilentReporter())
    do_stages(Forge(settings, run_folder, None, None, runner, SilentReporter()))
    return {result.name: result.hash for result in runner.results}
