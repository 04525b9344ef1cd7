"""The report of a planted bug in a real browser: it moves, it is marked, it asks nobody.

Skipped where there is no Chromium: `apt-get install chromium chromium-driver` has both.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fuzz import run
from models.trace import from_text

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium: make setup")
Keys = pytest.importorskip("selenium.webdriver.common.keys").Keys
By = pytest.importorskip("selenium.webdriver.common.by").By

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="needs a browser: apt-get install chromium chromium-driver"
)

TRACE = Path(__file__).parent / "traces" / "explicit_list" / "coalesce-forgets-footer.trace"
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--window-size=1100,1400"),
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a replay of a planted bug, by the command."""
    file = tmp_path_factory.mktemp("report") / "bug.html"
    assert run.main(["--replay", str(TRACE), "--report", str(file)]) == 1
    return file


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    """A browser of its own that writes down what it asks for and what goes wrong."""
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=DRIVER)
    driver = webdriver.Chrome(options=options, service=service)
    driver.get("about:blank")  # the browser's own first page asks for much
    driver.get_log("performance")
    yield driver
    driver.quit()


def requests(browser: webdriver.Chrome) -> list[str]:
    """The addresses that the page asked for."""
    told = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [
        each["params"]["request"]["url"]
        for each in told
        if each["method"] == "Network.requestWillBeSent"
    ]


def chosen(browser: webdriver.Chrome) -> str:
    """The line of the trace that is chosen."""
    (line,) = browser.find_elements(By.CSS_SELECTOR, ".trace li[aria-selected=true]")
    return line.find_elements(By.TAG_NAME, "span")[1].text


def drawn(browser: webdriver.Chrome) -> set[str]:
    """Names of the live blocks in the strip that the slider moves, as their tooltips tell them."""
    boxes = browser.find_elements(By.CSS_SELECTOR, ".every-state rect.live.payload:not(.away)")
    titles = [box.find_element(By.TAG_NAME, "title") for box in boxes]
    return {title.get_attribute("textContent").partition(":")[0] for title in titles}


def test_the_report_of_a_planted_bug(report: Path, browser: webdriver.Chrome) -> None:
    browser.get(report.as_uri())
    ops = from_text(TRACE.read_text()).ops
    slider = browser.find_element(By.CSS_SELECTOR, "input[type=range]")
    cursor = browser.find_element(By.CSS_SELECTOR, "rect.cursor")

    # It opens at the violating operation, which is marked in the trace and in the picture.
    assert chosen(browser) == str(ops[-1])
    (marked,) = browser.find_elements(By.CSS_SELECTOR, ".trace li.violating")
    assert str(ops[-1]) in marked.text
    title = browser.find_element(By.CSS_SELECTOR, ".over-time rect.violation title")
    assert title.get_attribute("textContent") == f"operation {len(ops) - 1} breaks overlap"
    named = browser.find_elements(By.CSS_SELECTOR, ".every-state rect.named.payload:not(.away)")
    assert len(named) == 2

    # The keys move it, and the heap with it.
    at_the_end = float(cursor.get_attribute("x"))
    slider.send_keys(Keys.HOME)
    assert drawn(browser) == set()
    assert float(cursor.get_attribute("x")) < at_the_end
    slider.send_keys(Keys.ARROW_RIGHT)
    assert chosen(browser) == str(ops[0]) == "p0 = malloc 1"
    assert drawn(browser) == {"p0"}
    slider.send_keys(Keys.END)
    assert chosen(browser) == str(ops[-1])
    assert {"p4", "p7"} <= drawn(browser)
    trace = browser.find_element(By.CSS_SELECTOR, ".trace")
    trace.send_keys(Keys.ARROW_UP)
    assert chosen(browser) == str(ops[-2])

    assert browser.get_log("browser") == []
    assert requests(browser) == [report.as_uri()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_are_legible(report: Path, browser: webdriver.Chrome, scheme: str) -> None:
    """Text stands out from what is behind it by WCAG's 4.5 : 1, in both schemes."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(report.as_uri())
    for words in ("p.plain", "p.quiet", "p.message", ".verdict.violation", "figcaption", "th"):
        shown = browser.execute_script(COLOURS, words)
        assert contrast(*shown) >= 4.5, (words, shown)


COLOURS = """
const shown = document.querySelector("main " + arguments[0] + ", header " + arguments[0]);
let behind = shown;
const clear = "rgba(0, 0, 0, 0)";
while (getComputedStyle(behind).backgroundColor === clear) behind = behind.parentElement;
return [getComputedStyle(shown).color, getComputedStyle(behind).backgroundColor];
"""


def contrast(one: str, two: str) -> float:
    """WCAG 2's ratio of two CSS colours."""
    dark, light = sorted(map(luminance, (one, two)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    levels = [float(level) / 255 for level in colour.strip("rgba()").split(",")[:3]]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in levels]
    return sum(share * x for share, x in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_contrast_is_computed_as_wcag_does() -> None:
    assert round(contrast("rgb(0, 0, 0)", "rgb(255, 255, 255)"), 1) == 21.0
    assert contrast("rgb(119, 119, 119)", "rgb(255, 255, 255)") < 4.5


def test_it_says_something_without_scripts(report: Path, browser: webdriver.Chrome) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.get(report.as_uri())
    assert not browser.find_element(By.CSS_SELECTOR, ".stepper").is_displayed()
    assert browser.find_element(By.CSS_SELECTOR, "svg.over-time").is_displayed()
    assert browser.find_element(By.CSS_SELECTOR, ".trace li.violating").is_displayed()
