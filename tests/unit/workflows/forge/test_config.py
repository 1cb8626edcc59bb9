import pytest
from pydantic import ValidationError

from limbeck.workflows.forge.config import DistilSettings, ForgeSettings

CELL = {"kind": "bulk", "formula": "Cu", "lattice": "fcc", "lattice_constant_A": 3.6}


@pytest.mark.parametrize("name", ["test", "fresh", "train", "validation", "teacher-labels", "a/b", "", ".x", "a b"])
def test_a_set_to_report_on_cannot_take_the_place_of_another_nor_leave_its_folder(name):
    values = {"name": "x", "structures": [CELL], "labels": {"kind": "emt"}}
    beyond = {"kind": "stored", "path": "x.extxyz"}
    assert ForgeSettings.model_validate({**values, "report_on": {"beyond-1": beyond}})
    with pytest.raises(ValidationError, match=r"report_on(.|\n)*name"):
        ForgeSettings.model_validate({**values, "report_on": {name: beyond}})


def test_students_have_names_of_their_own():
    with pytest.raises(ValidationError, match="two students are named 'pod'"):
        DistilSettings.model_validate({"students": [{"kind": "pod"}, {"kind": "uf3", "name": "Pod"}]})
    assert DistilSettings.model_validate({"students": [{"kind": "pod"}, {"kind": "pod", "name": "pod-large"}]})


@pytest.mark.parametrize("name", ["../pod", "a/b", "teacher", ""])
def test_names_of_students_are_names_of_folders(name):
    with pytest.raises(ValidationError, match=r"name"):
        DistilSettings.model_validate({"students": [{"kind": "pod", "name": name}]})


def forge_of(**values):
    return ForgeSettings.model_validate({"name": "x", "structures": [CELL], "labels": {"kind": "emt"}} | values)


def test_what_is_explored_is_what_students_are_made_and_tested_for():
    explored = forge_of(explore={"temperatures_K": [200.0, 450.0], "pressures_GPa": [3.0], "steps": 900})
    assert explored.distil.explore == explored.explore.model_copy(update={"steps": 200})
    assert explored.properties.nve_temperature_K == 450.0
    own = forge_of(
        explore={"temperatures_K": [200.0]}, distil={"explore": {"temperatures_K": [700.0]}, "trajectories": 2},
        properties={"nve_temperature_K": 500.0},
    )  # fmt: skip
    assert (own.distil.explore.temperatures_K, own.distil.trajectories) == ([700.0], 2)
    assert own.properties.nve_temperature_K == 500.0
    again = ForgeSettings.model_validate(explored.model_dump(mode="json"))
    assert again == explored


def test_temperatures_are_above_zero():
    with pytest.raises(ValidationError, match="temperatures_K"):
        forge_of(explore={"temperatures_K": [300.0, -20.0]})
