"""A page as a browser draws it: its bars are as long as the figures of the SQL.

$CHROMIUM names the browser, if it is not on the PATH.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from decimal import Decimal
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.reports import reports
from pipelines.reports.pages.building import write_page
from pipelines.reports.pages.window import Window
from router.config import Settings
from tests.pipelines.reports import fixed

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
READ = """<script>
const seen = [...document.querySelectorAll('.role-mark [aria-label]')].map(mark => {
  const box = mark.getBoundingClientRect();
  return {label: mark.getAttribute('aria-label'), width: box.width, fill: getComputedStyle(mark).fill};
});
const page = {seen, wide: document.documentElement.scrollWidth, room: window.innerWidth,
  loaded: performance.getEntriesByType('resource').map(entry => entry.name),
  background: getComputedStyle(document.body).backgroundColor};
document.body.innerHTML = '<pre id="seen"></pre>';
document.getElementById('seen').textContent = JSON.stringify(page);
</script></body>"""

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium: install one, or name it in CHROMIUM, to see pages as they are drawn"
)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The published warehouse of `fixed`."""
    settings = fixed.fill(Settings.load({}, home=tmp_path_factory.mktemp("fixed") / "data"))
    fixed.fill_marts(settings)
    return settings


def seen(settings: Settings, folder: Path, name: str, *options: str) -> dict[str, Any]:
    """The marks of a page as the browser draws them. Its policy is taken out, so that a script can look."""
    file = folder / "page.html"
    write_page(settings, name, Window(since=fixed.SINCE, until=fixed.UNTIL), file, timeout_s=60)
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", file.read_text())
    file.write_text(text.replace("</body>", READ))
    command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", *options, "--dump-dom"]
    drawn = subprocess.run(
        [*command, f"--user-data-dir={folder / 'profile'}", file.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    found = re.search(r'<pre id="seen">(.*?)</pre>', drawn, flags=re.DOTALL)
    assert found is not None, drawn[:2000]
    page: dict[str, Any] = json.loads(unescape(found[1]))
    assert page["loaded"] == []
    return page


@pytest.mark.slow
def test_bars_are_as_long_as_the_figures(filled: Settings, tmp_path: Path) -> None:
    """Each drawn bar has the exact amount of the SQL, and a length in proportion to it."""
    page = seen(filled, tmp_path, "cost-per-task", "--window-size=900,1000")
    answer = reports.report(filled, "cost-per-task", since=fixed.SINCE, until=fixed.UNTIL)
    costs = {
        f"{row['task_type']}, {row['model_selected']}": row["cost_usd"] for row in answer.table.to_pylist()
    }
    drawn = {mark["label"].rpartition(": ")[0]: mark for mark in page["seen"]}
    assert {name: Decimal(mark["label"].rpartition(": ")[2]) for name, mark in drawn.items()} == costs
    unit = drawn["chat, large"]["width"] / float(costs["chat, large"])
    for name, mark in drawn.items():
        assert mark["width"] == pytest.approx(unit * float(costs[name]), abs=1.5)


@pytest.mark.slow
def test_a_phone_needs_no_sideways_scrolling(filled: Settings, tmp_path: Path) -> None:
    """The page is no wider than a narrow window."""
    page = seen(filled, tmp_path, "cost-per-task", "--window-size=400,1000")
    assert page["wide"] <= max(page["room"], 400)


@pytest.mark.slow
def test_a_dark_screen_gets_dark_paper(filled: Settings, tmp_path: Path) -> None:
    """The background follows the reader's theme."""
    light = seen(filled, tmp_path, "cost-per-task")
    dark = seen(filled, tmp_path, "cost-per-task", "--blink-settings=preferredColorScheme=0")
    assert (light["background"], dark["background"]) == ("rgb(255, 255, 255)", "rgb(22, 24, 28)")
