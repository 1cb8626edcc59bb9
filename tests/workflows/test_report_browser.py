"""The report in a real browser: figures are drawn, nothing fails in the console, nothing is fetched."""

import importlib.util
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from limbeck.report.forge import build_report

BROWSER = next((p for n in ("chromium", "chromium-browser", "google-chrome", "chrome") if (p := shutil.which(n))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine: the page was not opened")

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=30000", "--enable-logging=stderr", "--v=0",
)  # fmt: skip
HARMLESS = ("Canvas2D: Multiple readback", "GL Driver Message")
"""Notes on speed that software rendering gives; every other line of the console counts."""
WIDTH_PROBE = """<script>
const wait = setInterval(() => {
  const root = document.documentElement;
  if (root.dataset.figures !== "drawn") return;
  clearInterval(wait);
  root.dataset.overflow = String(root.scrollWidth - root.clientWidth);
  const drawn = [...document.querySelectorAll(".plot")].filter((plot) => plot.querySelector(".main-svg"));
  root.dataset.drawn = String(drawn.length);
  const first = document.querySelector(".plot .xtick text");
  root.dataset.ink = getComputedStyle(first).fill;
}, 50);
</script></body>"""


@dataclass(frozen=True)
class Visit:
    """What a browser made of a page: its document, the lines of its console, and what it asked the network for."""

    document: str
    console: tuple[str, ...]
    requests: tuple[str, ...]

    def root(self, name):
        found = re.search(rf'<html[^>]* data-{name}="([^"]*)"', self.document)
        return found[1] if found else None


def visit(page: Path, folder: Path, fragment: str = "", flags=()) -> Visit:
    net_log = folder / "net.json"
    done = subprocess.run(
        [BROWSER, *FLAGS, f"--user-data-dir={folder / 'profile'}", f"--log-net-log={net_log}", "--window-size=500,900",
         *flags, "--dump-dom", f"file://{page}{fragment}"],
        capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    lines = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return Visit(done.stdout, tuple(x for x in lines if not any(h in x for h in HARMLESS)), tuple(_requests(net_log)))


def _requests(net_log: Path):
    """Addresses that the page asked for; what the browser asks for itself has no origin."""
    text = net_log.read_text()
    try:
        log = json.loads(text)
    except ValueError:  # the browser was closed before it ended its log
        log = json.loads(text.rstrip().rstrip(",") + "]}")
    for event in log["events"]:
        parameters = event.get("params") or {}
        address, origin = str(parameters.get("url", "")), parameters.get("initiator")
        if address.startswith(("http", "ws", "ftp")) and origin not in (None, "not an origin"):
            yield address


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    source = Path(__file__).parents[1] / "unit" / "report" / "synthetic_results.py"
    spec = importlib.util.spec_from_file_location("synthetic_results", source)
    synthetic = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(synthetic)
    return build_report(synthetic.make(tmp_path_factory.mktemp("browser")))


@pytest.fixture(scope="module")
def probed(report) -> Path:
    """The report with a probe added that writes widths and colors into the document."""
    page = report.with_name("probed.html")
    page.write_text(report.read_text().replace("</body>", WIDTH_PROBE))
    return page


def test_all_figures_are_drawn_on_a_narrow_screen_without_error_or_request(probed, tmp_path):
    seen = visit(probed, tmp_path, flags=["--blink-settings=preferredColorScheme=1"])
    assert seen.root("figures") == "drawn"
    assert int(seen.root("drawn")) == seen.document.count('id="figure-') == 24
    assert seen.console == ()
    assert seen.requests == ()
    assert int(seen.root("overflow")) <= 0
    assert seen.root("ink") == "rgb(74, 82, 92)"


def test_figures_follow_a_dark_screen(probed, tmp_path):
    seen = visit(probed, tmp_path, flags=["--blink-settings=preferredColorScheme=0"])
    assert seen.root("ink") == "rgb(188, 195, 204)"
    assert seen.console == ()


def test_the_data_set_view_opens_from_the_same_file(report, tmp_path):
    seen = visit(report, tmp_path, fragment="#open-dataset")
    assert seen.root("dataset") == "open"
    assert seen.root("figures") == "drawn"
    assert seen.console == ()
    assert seen.requests == ()


def test_a_page_that_fetches_is_caught(tmp_path):
    image = '<body><img src="http://example.invalid/logo.png"></body>'
    (tmp_path / "open.html").write_text(f"<!doctype html><html>{image}</html>")
    assert set(visit(tmp_path / "open.html", tmp_path).requests) == {"http://example.invalid/logo.png"}
    policy = "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'\">"
    (tmp_path / "shut.html").write_text(f"<!doctype html><html><head>{policy}</head>{image}</html>")
    shut = visit(tmp_path / "shut.html", tmp_path)
    assert any("Content Security Policy" in line for line in shut.console)
    assert shut.requests == ()
