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
