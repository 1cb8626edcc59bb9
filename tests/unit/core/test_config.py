from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml
from pydantic import Field

from limbeck.core.config import Settings, dump, load, read_assignment
from limbeck.core.errors import ConfigError, MissingFileError


class Langevin(Settings):
    kind: Literal["langevin"]
    temperature_K: float = Field(default=300.0, gt=0)
    steps: int = 10


class Relax(Settings):
    kind: Literal["relax"]
    force_limit_eV_per_A: float = 0.01


class Job(Settings):
    seed: int = 1
    method: Annotated[Langevin | Relax, Field(discriminator="kind")]
    more: list[Annotated[Langevin | Relax, Field(discriminator="kind")]] = []


def write(folder: Path, text: str) -> Path:
    path = folder / "job.yaml"
    path.write_text(text)
    return path


def error_of(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(write(folder, text), Job)
    return str(caught.value)


def test_a_valid_file_gives_settings_with_defaults(tmp_path):
    job = load(write(tmp_path, "method: {kind: langevin, temperature_K: 500}\n"), Job)
    assert job == Job(method=Langevin(kind="langevin", temperature_K=500.0))
    assert job.method.steps == 10


def test_settings_are_frozen():
    job = Job(method=Relax(kind="relax"))
    with pytest.raises(ValueError, match="frozen"):
        job.seed = 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sed: 3\nmethod: {kind: relax}\n", ["job.yaml:1", "'sed'", "Did you mean 'seed'"]),
        (
            "method:\n  kind: langevin\n  temperature_C: 20\n",
            ["job.yaml:3", "method.temperature_C", "Did you mean 'temperature_K'"],
        ),
        ("method:\n  kind: langevin\n  steps: 2.5\n", ["job.yaml:3", "method.steps", "2.5"]),
        ("method:\n  kind: langevin\n  temperature_K: '300 K'\n", ["job.yaml:3", "'300 K'"]),
        ("method:\n  kind: langevin\n  temperature_K: -3\n", ["job.yaml:3", "greater than 0"]),
        ("method:\n  kind: langevin\n  temperature_K: .nan\n", ["job.yaml:3", "finite"]),
        ("method:\n  kind: langevinn\n", ["job.yaml:2", "langevinn", "Did you mean 'langevin'"]),
        ("method: {steps: 3}\n", ["needs a 'kind'", "langevin", "relax"]),
        ("seed: 3\n", ["'method' is required"]),
        ("method: {kind: relax}\nmore:\n  - kind: relax\n    stepz: 3\n", ["job.yaml:4", "more.0.stepz"]),
        ("method: {kind: relax}\nmethod: {kind: langevin}\n", ["job.yaml:2", "given twice"]),
        ("method: [\n", ["job.yaml:2", "not valid YAML"]),
        ("seed: 2020-13-45\nmethod: {kind: relax}\n", ["job.yaml", "not valid YAML", "month"]),
        ("seed: 1\nmethod: {kind: \x07}\n", ["job.yaml:2", "not valid YAML", "special characters"]),
        ("- 1\n- 2\n", ["expected a block"]),
        ("", ["expected a block", "the file is empty"]),
        ("method: {kind: relax}\nmore: 3\n", ["job.yaml:2", "'more'", "expected a list", "(seen: 3)"]),
    ],
)
def test_every_mistake_names_line_key_and_remedy(tmp_path, text, expected):
    message = error_of(tmp_path, text)
    for part in expected:
        assert part in message


def test_all_mistakes_are_listed_at_once(tmp_path):
    message = error_of(tmp_path, "seed: x\nmethod:\n  kind: relax\n  other: 1\n")
    assert len(message.splitlines()) == 2


def test_a_missing_file_names_the_nearest(tmp_path):
    write(tmp_path, "method: {kind: relax}\n")
    with pytest.raises(MissingFileError, match=r"Did you mean .*job\.yaml"):
        load(tmp_path / "jb.yaml", Job)


def test_exponents_are_numbers(tmp_path):
    job = load(write(tmp_path, "method: {kind: relax, force_limit_eV_per_A: 1e-3}\n"), Job)
    assert job.method.force_limit_eV_per_A == 1e-3


def test_overrides_come_after_the_file_and_are_checked(tmp_path):
    path = write(tmp_path, "method: {kind: langevin}\n")
    assert load(path, Job, {"method.steps": 3}).method.steps == 3
    with pytest.raises(ConfigError, match=r"method\.stepss"):
        load(path, Job, {"method.stepss": 3})
    with pytest.raises(ConfigError, match="not a block"):
        load(path, Job, {"method.kind.b": 3})


def test_dumped_settings_read_back_equal(tmp_path):
    job = Job(seed=5, method=Langevin(kind="langevin"), more=[Relax(kind="relax")])
    assert load(write(tmp_path, dump(job)), Job) == job
    assert yaml.safe_load(dump(job))["seed"] == 5


def test_a_file_that_is_not_utf8_is_one_error_with_its_line(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_bytes("seed: 1\n# Größe\nmethod: {kind: relax}\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"job\.yaml:2: byte 0xf6 is not UTF-8"):
        load(path, Job)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.b=3", ("a.b", 3)),
        ("rate=3e-3", ("rate", 3e-3)),
        ("a=[1, 2]", ("a", [1, 2])),
        ("a={kind: x, path: 'p=q'}", ("a", {"kind": "x", "path": "p=q"})),
        ("a=", ("a", None)),
    ],
)
def test_assignments_read_values_as_a_file_does(text, expected):
    assert read_assignment(text) == expected


@pytest.mark.parametrize("text", ["a", "=3", "a..b=3", ".a=1"])
def test_an_assignment_without_key_or_value_is_refused(text):
    with pytest.raises(ConfigError, match="expected KEY=VALUE"):
        read_assignment(text)


def test_an_assignment_that_is_not_yaml_names_itself():
    with pytest.raises(ConfigError, match=r"--set run\.steps=\[:1: not valid YAML"):
        read_assignment("run.steps=[")
    with pytest.raises(ConfigError, match="'b' is given twice"):
        read_assignment("a={b: 1, b: 2}")


def test_overrides_reach_items_of_lists_and_empty_blocks(tmp_path):
    path = write(tmp_path, "method: {kind: relax}\nmore: [{kind: langevin}, {kind: relax}]\n")
    assert load(path, Job, {"more.0.steps": 7}).more[0].steps == 7
    assert load(path, Job, {"more.1": {"kind": "langevin"}}).more[1].kind == "langevin"
    with pytest.raises(ConfigError, match=r"--set more\.2\.steps: '2' .* expected a number from 0 to 1"):
        load(path, Job, {"more.2.steps": 7})
    with pytest.raises(ConfigError, match=r"--set more\.first\.steps: 'first'"):
        load(path, Job, {"more.first.steps": 7})
    assert load(write(tmp_path, "method:\n"), Job, {"method.kind": "relax"}).method == Relax(kind="relax")


def test_a_mistake_in_an_override_is_told_of_the_override(tmp_path):
    path = write(tmp_path, "method: {kind: langevin}\nseed: 1\n")
    with pytest.raises(ConfigError, match=r"^--set method\.steps: 'method\.steps': .*\(seen: 2\.5\)"):
        load(path, Job, {"method.steps": 2.5})
    with pytest.raises(ConfigError, match=r"^--set method\.kind: 'method\.kind' is 'relaxx'"):
        load(path, Job, {"method.kind": "relaxx"})
    with pytest.raises(ConfigError, match=r"job\.yaml:2: 'seed'"):
        load(write(tmp_path, "method: {kind: langevin}\nseed: x\n"), Job, {"method.steps": 2})
