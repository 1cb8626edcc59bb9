import gzip
import json
import re
import subprocess
import sys
from base64 import b64decode
from html.parser import HTMLParser

import pytest

from limbeck.core.errors import MissingDependencyError
from limbeck.report.document import pack, script_json
from limbeck.report.forge import build_report
from limbeck.report.reading import write_results

HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'&{{ 7*7 }}</script>"
OWN_SCRIPTS = 4  # plot data, packed viewer and data set are data; Plotly and the page's own are code


class Page(HTMLParser):
    """Elements, identifiers and visible text of a page, script contents apart."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.elements, self.ids, self.scripts, self.text, self._inside = [], [], [], [], None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.ids += [v for k, v in attrs if k == "id"]
        self._inside = tag
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        elif self._inside != "style":
            self.text.append(data)


def outside_references(page):
    """Everything in a page that would make a browser fetch something."""
    found = []
    for tag, attributes in page.elements:
        for name in ("src", "srcset", "href", "data", "action", "poster", "background"):
            value = attributes.get(name)
            if value is not None and not value.startswith(("#", "data:")):
                found.append((tag, name, value))
        if attributes.get("http-equiv", "").lower() == "refresh":
            found.append((tag, "refresh", attributes.get("content")))
    return found


@pytest.fixture(scope="module")
def html(run_folder):
    return (run_folder / "report.html").read_text()


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_one_file_that_fetches_nothing(page, html):
    assert outside_references(page) == []
    style = "".join(re.findall(r"<style>(.*?)</style>", html, flags=re.S))
    assert not re.search(r"url\(|@import", style)
    policy = next(a["content"] for t, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy
    assert len(html) < 9e6


def test_the_check_finds_what_a_careless_page_would_fetch():
    careless = Page(
        "<script src='https://cdn.example/plotly.js'></script><link href='style.css'><img src='figures/a.png'>"
    )
    assert len(outside_references(careless)) == 3


def test_identifiers_are_unique_and_links_lead_somewhere(page):
    assert len(page.ids) == len(set(page.ids))
    for tag, attributes in page.elements:
        if tag == "a" and attributes.get("href", "").startswith("#"):
            assert attributes["href"][1:] in page.ids


def test_every_figure_has_its_place_and_every_place_its_figure(page):
    specs = json.loads(next(text for attributes, text in page.scripts if attributes.get("id") == "plot-data"))
    assert {f"figure-{name}" for name in specs} == {i for i in page.ids if i.startswith("figure-")}
    assert len(specs) == 24


def test_two_builds_are_equal_to_the_byte(run_folder, html):
    def others():
        return {p.name: p.read_bytes() for p in run_folder.rglob("*") if p.suffix in (".png", ".pdf", ".md", ".json")}

    before = others()
    build_report(run_folder)
    assert (run_folder / "report.html").read_text() == html
    assert others() == before
    assert len(before) == 9


def test_hostile_text_is_shown_and_never_run(synthetic, tmp_path):
    evaluation = {
        "potential": HOSTILE, "role": "student", "set": HOSTILE, "errors": {HOSTILE: {"value": 1.0, "unit": HOSTILE}},
        "by_trajectory": [{"trajectory": HOSTILE, "force_rmse": 0.1}],
    }  # fmt: skip
    synthetic.make(
        tmp_path, title=HOSTILE, command=HOSTILE, warnings=[HOSTILE], config_yaml=HOSTILE, evaluations=[evaluation],
        versions={HOSTILE: HOSTILE}, lineage=[{"product": HOSTILE, "made_from": [HOSTILE], "by_stage": HOSTILE}],
        cost=[{"stage": HOSTILE, "wall_s": 1.0, "cpu_s": 1.0}],
        properties=[{"name": HOSTILE, "unit": HOSTILE, "student": 1.0, "reference_note": HOSTILE}],
    )  # fmt: skip
    page = Page(build_report(tmp_path).read_text())
    assert not [t for t, a in page.elements if t == "img" or any(k.startswith("on") for k in a)]
    assert len(page.scripts) == OWN_SCRIPTS + 1
    assert not any("alert('x')" in text for attributes, text in page.scripts if "type" not in attributes)
    specs = next(text for attributes, text in page.scripts if attributes.get("id") == "plot-data")
    assert "&lt;script&gt;" in json.dumps(json.loads(specs)["cost"]["data"])
    assert any(HOSTILE in text for text in page.text)
    assert "49" not in "".join(page.text[:20])


def test_data_inside_a_script_element_cannot_end_it():
    text = script_json({"a": "</script><!--\u2028", "b": [1.5, None]})
    assert "<" not in text
    assert "\u2028" not in text
    assert json.loads(text) == {"a": "</script><!--\u2028", "b": [1.5, None]}


def test_packed_text_unpacks(page):
    assert gzip.decompress(b64decode(pack("Å" * 1000))).decode() == "Å" * 1000
    packed = {a["id"]: t for a, t in page.scripts if a.get("id", "").startswith("packed-")}
    content = json.loads(gzip.decompress(b64decode(packed["packed-dataset"])))
    assert len(content["structures"]) == 52
    assert {"volume", "energy", "largest force", "role", "temperature", "force error"} <= set(content["properties"])
    assert b"Chemiscope" in gzip.decompress(b64decode(packed["packed-viewer"]))


def test_a_run_that_has_only_begun_says_what_is_not_reached(tmp_path):
    write_results(tmp_path, {"name": "fresh-start"})
    page = Page(build_report(tmp_path).read_text())
    text = "\n".join(page.text)
    assert text.count("Not reached yet") == 9
    assert "No verdict yet" in text
    assert json.loads((tmp_path / "metrics.json").read_text()) == []
    assert "no student has been chosen" in (tmp_path / "README.md").read_text()
    assert not (tmp_path / "figures").exists()


@pytest.mark.parametrize("module", ["plotly", "chemiscope", "matplotlib"])
def test_a_missing_package_is_one_error_with_the_line_that_installs_it(synthetic, tmp_path, monkeypatch, module):
    synthetic.make(tmp_path)
    monkeypatch.setattr("limbeck.report.document.find_spec", lambda name: None) if module == "plotly" else None
    for name in [m for m in sys.modules if m == module or m.startswith(f"{module}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=f"pip install '{module}"):
        build_report(tmp_path)


def test_importing_and_building_a_report_never_loads_torch(run_folder):
    code = (
        "import sys, pathlib, limbeck.report.forge as f;"
        "heavy = {'plotly', 'chemiscope', 'matplotlib', 'torch', 'jax'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules);"
        "f.build_report(pathlib.Path(sys.argv[1])); assert not {'torch', 'jax'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(run_folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
