"""Every key is explained."""

import json

import pytest
from typer.testing import CliRunner

from limbeck.cli import app
from limbeck.core.errors import ConfigError
from limbeck.workflows.forge.config import ForgeSettings
from limbeck.workflows.keys import keys


def test_every_key_is_there_and_says_what_it_is_for():
    rows = {row["key"]: row for row in keys(ForgeSettings)}
    for name in (
        "explore.temperatures_K",
        "labels[gpaw].xc",
        "distil.students[pod_uf3].pod.cutoff_A",
        "finetune.epochs",
    ):
        assert rows[name]["what"], name
    assert rows["explore.temperatures_K"]["default"] == [300.0, 600.0, 900.0]
    assert rows["name"]["needed"]
    silent = [key for key, row in rows.items() if not row["what"] and not key.endswith("kind")]
    assert silent == []


def test_keys_of_one_part_for_reading_and_for_scripts():
    said = CliRunner().invoke(app, ["keys", "loop"])
    assert said.exit_code == 0
    assert "loop.max_iterations = 2\n    Upper bound" in said.output
    assert "gate." not in said.output
    rows = json.loads(CliRunner().invoke(app, ["keys", "loop", "--json"]).output)
    assert all(row["key"].startswith("loop") for row in rows)
    with pytest.raises(ConfigError, match="no key begins with 'lop'"):
        keys(ForgeSettings, "lop")
