"""The page in a real browser: what a reader does with it."""

import json
import shutil

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.support.made_up_page import NASTY, made_up_page

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")
QUIET = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Selenium clicks where an element was before a smooth scroll.
    "--force-prefers-reduced-motion",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if not (CHROMIUM and CHROMEDRIVER):
        pytest.skip("needs Chromium: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (*QUIET, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(argument)
    options.set_capability(
        "goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"}
    )
    driver = webdriver.Chrome(options=options, service=Service(CHROMEDRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(made_up_page(), encoding="utf-8")
    return file.as_uri()


def resize(browser, width, height=900):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        dict(width=width, height=height, deviceScaleFactor=1, mobile=False),
    )


@pytest.fixture
def page(browser, address):
    """The page, freshly loaded; afterwards nothing must have gone wrong in it."""
    # The browser itself may log something when it starts.
    browser.get("about:blank")
    for log in ("browser", "performance"):
        browser.get_log(log)
    resize(browser, 1200)
    browser.get(address)
    yield browser
    assert browser.get_log("browser") == []
    logged = browser.get_log("performance")
    events = [json.loads(entry["message"])["message"] for entry in logged]
    requests = {
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    }
    assert {url for url in requests if not url.startswith("data:")} == {address}


def all_of(page, selector):
    return page.find_elements(By.CSS_SELECTOR, selector)


def one(page, selector):
    return page.find_element(By.CSS_SELECTOR, selector)


def texts(page, selector):
    return [element.text for element in all_of(page, selector)]


def attributes(elements, name):
    return [element.get_attribute(name) for element in elements]


def into_view(page, element):
    page.execute_script(
        "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element
    )


def cut(page, stage):
    """Where the handle is, in percent of the width, as drawn."""
    return page.execute_script(
        "const [stage, line] = [arguments[0], arguments[0].querySelector('.line')]"
        ".map((node) => node.getBoundingClientRect());"
        "return 100 * (line.left + line.width / 2 - stage.left) / stage.width;",
        stage,
    )


def test_images_are_sorted_worst_first(page):
    names = [NASTY, "two", "three", "four" * 20, "five", "six"]
    assert texts(page, ".card h3") == names
    *scores, unknown = attributes(all_of(page, ".card"), "data-iou")
    assert unknown == ""
    assert [float(score) for score in scores] == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert page.title.startswith("run <script>")


def test_every_picture_is_one(page):
    widths = page.execute_async_script(
        "const done = arguments[0], images = [...document.images];"
        "Promise.all(images.map((image) => image.decode()))"
        ".then(() => done(images.map((image) => image.naturalWidth)), done)"
    )
    assert widths == [40] * 6 * 4


def test_the_filter_shows_images_with_the_class(page):
    chips = all_of(page, "#filter button")
    assert [chip.text.split("\n")[-1] for chip in chips] == ["6", "3", "3", "1"]
    chips[2].click()
    assert texts(page, ".card h3") == ["two", "three", "five"]
    assert one(page, "#count").text == "3 of 3 images with dog"
    chips[3].click()
    assert texts(page, ".card h3") == ["four" * 20]
    assert attributes(chips, "aria-pressed") == ["false", "false", "false", "true"]
    chips[0].click()
    assert len(texts(page, ".card h3")) == 6


def test_the_handle_follows_the_mouse(page):
    first, stage = all_of(page, ".stage")[:2]
    into_view(page, stage)
    assert cut(page, stage) == pytest.approx(50, abs=1)
    step = stage.size["width"] / 10
    ActionChains(page).move_to_element(stage).click_and_hold().move_by_offset(
        3 * step, 0
    ).release().move_by_offset(-5 * step, 0).perform()
    assert cut(page, stage) == pytest.approx(80, abs=1)
    assert cut(page, first) == pytest.approx(50, abs=1)


def touch(page, element, *places):
    """Puts a finger on an element, moves and lifts it; places in parts of its size."""
    into_view(page, element)
    box = page.execute_script(
        "return arguments[0].getBoundingClientRect().toJSON()", element
    )
    points = [
        [dict(x=box["x"] + box["width"] * x, y=box["y"] + box["height"] * y)]
        for x, y in places
    ]
    kinds = ["touchStart", *["touchMove"] * (len(points) - 1), "touchEnd"]
    page.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", dict(enabled=True))
    for kind, point in zip(kinds, [*points, []], strict=True):
        event = dict(type=kind, touchPoints=point)
        page.execute_cdp_cmd("Input.dispatchTouchEvent", event)
    page.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", dict(enabled=False))


def test_the_handle_follows_a_finger_that_does_not_scroll(page):
    stage = one(page, ".stage")
    touch(page, stage, (0.5, 0.5), (0.4, 0.5), (0.25, 0.5))
    assert cut(page, stage) == pytest.approx(25, abs=1)
    touch(page, stage, (0.7, 0.5))
    assert cut(page, stage) == pytest.approx(70, abs=1)
    touch(page, stage, (0.2, 0.9), (0.2, 0.6), (0.2, 0.3), (0.2, 0.1))
    assert cut(page, stage) == pytest.approx(70, abs=1)


def test_the_handle_moves_by_keyboard(page):
    stage = one(page, ".stage")
    handle = one(stage, "input")
    handle.send_keys(Keys.ARROW_LEFT * 3)
    assert cut(page, stage) == pytest.approx(47, abs=0.6)
    handle.send_keys(Keys.END)
    assert cut(page, stage) == pytest.approx(100, abs=1)
    assert handle.get_attribute("aria-valuetext") == "100 % Prediction, 0 % Truth"
    label = handle.get_attribute("aria-label")
    assert label == f"{NASTY}: Prediction left of the handle, Truth right of it"


def test_the_layers_to_compare_can_be_chosen(page):
    def overlays():
        images = all_of(page, ".card:first-child .overlay")
        return [x.get_attribute("src") if x.is_displayed() else None for x in images]

    data = json.loads(one(page, "#data").get_attribute("textContent"))
    layers = data["gallery"]["images"][0]["layers"]
    assert overlays() == [layers["prediction"], layers["truth"]]
    left, right = all_of(page, "#images select")
    left.send_keys("Cams")
    right.send_keys("Photo")
    assert overlays() == [layers["cams"], None]
    one(page, "#images .swap").click()
    assert overlays() == [None, layers["cams"]]
    assert texts(page, ".card:first-child .tag") == ["Photo", "Cams"]


def test_an_image_can_be_enlarged(page):
    all_of(page, "#filter button")[2].click()
    all_of(page, ".open")[1].click()
    viewer = one(page, "#viewer")
    title, following = one(viewer, "#viewer-title"), one(viewer, "#next")
    assert viewer.get_attribute("open") is not None
    assert (title.text, one(viewer, "#place").text) == ("three", "2 of 3")
    assert [row.split() for row in texts(viewer, "tr")] == [
        ["IoU", "Prediction"],
        ["background", "30.0"],
        ["dog", "30.0"],
        ["Mean", "30.0"],
    ]
    following.click()
    assert title.text == "five"
    assert not following.is_enabled()
    ActionChains(page).send_keys(Keys.ESCAPE).perform()
    assert viewer.get_attribute("open") is None


def test_names_switch_curves_on_and_off(page):
    chart, scores = all_of(page, "[data-chart]")
    buttons = all_of(chart, ".legend button")
    into_view(page, chart)
    assert len(all_of(chart, "path.curve")) == 3
    buttons[1].click()
    assert len(all_of(chart, "path.curve")) == 2
    assert attributes(buttons, "aria-pressed") == ["true", "false", "true"]
    buttons[1].click()
    assert len(all_of(chart, "path.curve")) == 3
    # One is of a best threshold, off at first.
    pressed = attributes(all_of(scores, "button"), "aria-pressed")
    assert pressed == ["true", "true", "true", "false"]
    assert len(all_of(scores, "path.curve")) == 3


def test_the_pointer_reads_values(page):
    chart = one(page, "[data-chart='0']")
    plot = one(chart, ".plot")
    into_view(page, plot)
    assert texts(chart, ".value") == ["1.20", "0.125", "-1.0e-5"]
    left = -plot.size["width"] // 2 + 42
    ActionChains(page).move_to_element_with_offset(plot, left, 0).perform()
    assert one(plot, ".cursor-text").text == "Step 10"
    assert texts(chart, ".value") == ["1.90", "0.00", "-1.0e-5"]
    plot.send_keys(Keys.ARROW_RIGHT * 3)
    assert texts(chart, ".value") == ["1.60", "0.250", "–"]
    assert plot.get_attribute("aria-valuetext").startswith("Step 40: loss 1.60")


def test_scale_and_smoothing_change_the_curves(page):
    chart = one(page, "[data-chart='0']")

    def curves():
        return attributes(all_of(chart, "path.curve"), "d")

    ticks = "text[text-anchor=end]"
    plain = curves()
    assert texts(chart, ticks) == ["0", "0.5", "1", "1.5", "2"]
    # The loss that is not finite at one step has a gap there.
    assert [path.count("M") for path in plain] == [1, 1, 2]
    one(chart, ".log").click()
    assert texts(chart, ticks) == ["0.1", "1", "10"]
    assert curves()[1].count("L") == plain[1].count("L") - 2
    assert curves()[2] == ""
    one(chart, ".log").click()
    one(chart, ".smooth").click()
    assert len(curves()) == 6


def test_a_click_on_a_title_sorts_the_classes(page):
    def shown():
        return texts(page, "table.classes tbody .bar:only-child")[::2]

    assert shown() == ["0.0", "40.0", "80.0", "20.0"]
    button = all_of(page, "table.classes thead button")[1]
    button.click()
    assert shown() == ["80.0", "40.0", "20.0", "0.0"]
    button.click()
    assert shown() == ["0.0", "20.0", "40.0", "80.0"]


@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_is_wider_than_the_window(page, width):
    resize(page, width)
    for summary in all_of(page, "summary"):
        page.execute_script("arguments[0].parentNode.open = true", summary)
    size = "return [document.documentElement.scrollWidth, innerWidth]"
    wide, window = page.execute_script(size)
    assert wide <= window == width
    page.execute_script("document.querySelector('.open').click()")
    viewer = "const d = document.getElementById('viewer');"
    assert page.execute_script(f"{viewer} return d.scrollWidth <= d.clientWidth")
