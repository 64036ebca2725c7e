"""The page in a real browser: what is seen is what ``lrfr degrade`` makes of the saved recipe."""

import base64
import os
import re
import shutil

import numpy as np
import pytest

from lrfr.core.image import decode
from lrfr.degrade.spec.resolve import preset_text
from lrfr.studio.recipes.recipe_files import Places
from tests.studio.conftest import running

CHROMIUM = next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), None)
if CHROMIUM is None:
    pytest.skip("no Chromium here: apt-get install chromium", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright here: pip install playwright")
expect = sync_api.expect

PIXELS = """node => { const data = node.getContext('2d').getImageData(0, 0, node.width, node.height).data;
  return [node.width, node.height, btoa(String.fromCharCode(...data))]; }"""
WAIT_MS = 90_000


@pytest.fixture(scope="module")
def browser():
    """One Chromium for all tests; root needs it without its sandbox."""
    flags = ["--no-sandbox"] if os.getuid() == 0 else []
    with sync_api.sync_playwright() as play:
        found = play.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield found
        found.close()


class Page:
    """A tab with what the tests do in it; every complaint of the browser is kept."""

    def __init__(self, context, url):
        self.complaints = []
        self.page = context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.page.on(
            "console",
            lambda said: (
                self.complaints.append(said.text)
                if said.type in {"error", "warning"} and "willReadFrequently" not in said.text
                else None
            ),
        )
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.complaints.append("a dialog"), dialog.dismiss()))
        self.page.goto(url)
        self.settled()

    def settled(self):
        """Wait until every picture that was asked for is there."""
        self.page.wait_for_selector('html[data-ready="yes"]')
        expect(self.page.locator("#grid")).to_have_attribute("aria-busy", "false", timeout=WAIT_MS)
        return self

    def yaml(self):
        return self.page.locator("#yaml").input_value()

    def type(self, text):
        self.page.locator("#yaml").fill(text)
        self.page.wait_for_timeout(300)
        self.settled()

    def pictures(self):
        """Return the pixels on the screen, {(face, draw): uint8 [h, w, 3]}."""
        found = {}
        for cell in self.page.locator(".cell[data-draw]").all():
            width, height, data = cell.locator("canvas").evaluate(PIXELS)
            pixels = np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)
            assert (pixels[..., 3] == 255).all()
            found[int(cell.get_attribute("data-face")), int(cell.get_attribute("data-draw"))] = pixels[
                ..., :3
            ]
        return found

    def order(self):
        return [card.get_attribute("data-op") for card in self.page.locator("#steps > .card").all()]


@pytest.fixture
def tab(browser, studio):
    """A tab on the studio, few faces so that the tests are quick."""
    context = browser.new_context(viewport={"width": 1500, "height": 1700})
    # as a tab that was reloaded with two faces: the server's first picture is the slow one
    context.add_init_script("sessionStorage['lrfr-studio'] ??= JSON.stringify({ faces: [0, 1] })")
    page = Page(context, studio.address.url)
    yield page
    context.close()
    assert page.complaints == []


def press(tab, label, key, times=1):
    handle = tab.page.get_by_role("slider", name=label)
    handle.focus()
    for _ in range(times):
        handle.press(key)
    tab.settled()


def test_a_slider_moves_pixels_and_they_are_those_of_the_saved_recipe(tab, folder, lrfr):
    expect(tab.page.locator(".cell canvas")).to_have_count(8)
    before = tab.pictures()
    press(tab, "size high", "ArrowLeft", 12)
    after = tab.pictures()
    assert {image.shape for image in after.values()} != {image.shape for image in before.values()}
    assert "size: {randint: [12, 20]}" in tab.yaml()
    assert "# A cheap camera far away" in tab.yaml(), "comments survive"

    tab.page.locator("#name").fill("tuned.yaml")
    tab.page.locator("#name").press("Tab")
    tab.page.get_by_role("button", name="Save").click()
    expect(tab.page.locator("#said")).to_contain_text("tuned.yaml")
    assert (folder / "tuned.yaml").read_text() == tab.yaml()
    code, _, err = lrfr("degrade", "--spec", str(folder / "tuned.yaml"), "--variants", "3", "--limit", "2")
    assert code == 0, err
    (folder / "tuned.yaml").unlink()
    for (face, draw), image in after.items():
        with open(f"degraded/face-{face:04d}.v{draw}.png", "rb") as file:
            assert np.array_equal(decode(file.read()), image), (face, draw)


def test_a_handle_is_dragged_and_one_undo_takes_the_whole_drag_back(tab):
    text = tab.yaml()
    handle = tab.page.get_by_role("slider", name="size high").bounding_box()
    x, y = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
    tab.page.mouse.move(x, y)
    tab.page.mouse.down()
    for step in range(1, 9):
        tab.page.mouse.move(x + 10 * step, y)
    tab.page.mouse.up()
    tab.settled()
    moved = int(re.search(r"randint: \[12, (\d+)\]", tab.yaml())[1])
    assert moved > 45
    tab.page.get_by_role("button", name="Undo").click()
    tab.settled()
    assert tab.yaml() == text
    tab.page.get_by_role("button", name="Redo").click()
    tab.settled()
    assert f"randint: [12, {moved}]" in tab.yaml()


def test_steps_are_moved_by_pointer_and_keys_nested_and_switched_off(tab):
    first = tab.order()
    grip = tab.page.locator('#steps > .card[data-op="jpeg"] .grip')
    grip.drag_to(
        tab.page.locator('#steps > .card[data-op="illumination"] .card-head'),
        target_position={"x": 60, "y": 2},
    )
    tab.settled()
    assert tab.order() == ["jpeg", *first[:-1]]
    tab.page.locator('#steps > .card[data-op="jpeg"] .grip').press("ArrowDown")
    tab.settled()
    assert tab.order()[:2] == [first[0], "jpeg"]
    tab.page.locator('#steps > .card[data-op="down"] .grip').press("ArrowRight")
    tab.settled()
    assert "down" not in tab.order()
    inner = tab.page.locator('.card[data-op="blur"] .nested > .card')
    expect(inner).to_have_count(3)
    tab.page.get_by_role("switch", name="illumination on").click()
    tab.settled()
    assert re.search(r"op: illumination, id: i1, p: 0,", tab.yaml())
    tab.page.get_by_role("switch", name="illumination on").click()
    tab.settled()
    assert re.search(r"op: illumination, id: i1, p: 0\.5,", tab.yaml())
    for _ in range(5):
        tab.page.get_by_role("button", name="Undo").click()
        tab.settled()
    assert tab.order() == first and tab.yaml() == preset_text("surveillance")


def test_a_step_is_searched_and_added_and_a_fixed_value_becomes_a_law(tab):
    tab.page.get_by_role("button", name="Add step").click()
    tab.page.get_by_label("Search the ops").fill("webp")
    tab.page.get_by_label("Search the ops").press("Enter")
    tab.settled()
    assert tab.order()[-1] == "webp" and re.search(r"- \{op: webp, quality: \d+\}", tab.yaml())
    card = tab.page.locator('.card[data-op="webp"]')
    card.get_by_label("Show webp").click()
    card.get_by_label("quality: fixed or drawn").select_option("randint")
    tab.settled()
    assert re.search(r"- \{op: webp, quality: \{randint: \[\d+, \d+\]\}\}", tab.yaml())
    assert card.locator(".bars rect").count() > 2, "a histogram of what is drawn"


def test_wrong_text_is_told_at_its_line_and_the_pictures_stay(tab):
    shown = tab.pictures()
    wrong = tab.yaml().replace("filter: box", "filter: boxy")
    line = 1 + next(i for i, text in enumerate(wrong.splitlines()) if "boxy" in text)
    tab.type(wrong)
    expect(tab.page.locator("#faults")).to_contain_text(f"line {line}:")
    expect(tab.page.locator("#yaml-marks > div").nth(line - 1)).to_have_class("wrong")
    assert all(np.array_equal(image, shown[key]) for key, image in tab.pictures().items())
    tab.type("pipeline: [")
    expect(tab.page.locator("#faults li")).to_have_count(1)
    tab.type(wrong.replace("boxy", "hamming"))
    expect(tab.page.locator("#faults li")).to_have_count(0)
    assert any(not np.array_equal(image, shown[key]) for key, image in tab.pictures().items())


def test_script_in_names_is_text(tab):
    evil = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    tab.type(
        f"version: 1\nname: {evil!r}\npipeline: [{{op: {evil!r}}}, {{op: box, steps: [{{op: identity}}]}}, {{op: {evil!r}, steps: [{{op: identity}}]}}]\n"
    )
    expect(tab.page.locator("#faults")).to_contain_text("<img src=x")
    expect(tab.page.locator("#steps > .card").last).to_contain_text("<script>alert(2)</script>")
    assert tab.page.locator("img[src=x], main script").count() == 0


def test_a_reload_keeps_the_recipe_and_two_tabs_are_two_studios(tab, browser, studio):
    press(tab, "size low", "ArrowRight", 3)
    text, pictures = tab.yaml(), tab.pictures()
    assert "randint: [15, 32]" in text
    tab.page.reload()
    tab.settled()
    assert tab.yaml() == text
    assert all(np.array_equal(image, pictures[key]) for key, image in tab.pictures().items())
    other = Page(browser.contexts[0], studio.address.url)
    assert other.yaml() == preset_text("surveillance")
    press(other, "size low", "ArrowRight", 5)
    assert tab.yaml() == text and "randint: [17, 32]" in other.yaml()
    other.page.close()


def test_a_face_is_wiped_and_traced_step_by_step(tab):
    tab.page.locator('.cell[data-draw="1"]').first.click()
    steps = tab.page.locator(".trace li")
    expect(steps.first).to_be_visible()
    drawn = tab.page.locator(".drawn li").all_inner_texts()
    expect(steps).to_have_count(len(drawn))
    assert [text.split(":")[0] for text in drawn] == [
        re.sub(r"^\d+\. ", "", text) for text in steps.locator("b").all_inner_texts()
    ]


def test_a_slow_op_shows_pictures_as_they_come_and_the_latest_wish_wins(tab):
    tab.page.locator("#stage-bar").get_by_role("spinbutton", name="Faces").fill("6")
    tab.page.locator("#stage-bar").get_by_role("spinbutton", name="Faces").press("Enter")
    tab.settled()
    tab.page.locator("#yaml").fill(preset_text("turb"))
    tab.page.wait_for_timeout(300)
    tab.page.locator('.card[data-op="turbulence"] .fold').click()
    handle = tab.page.get_by_role("slider", name=re.compile("D_over_r0"))
    handle.last.focus()
    for _ in range(10):
        handle.last.press("ArrowLeft")
    tab.settled()
    asked = int(tab.page.locator("#pulse").get_attribute("data-number"))
    assert asked < 14, "ten presses while pictures are slow: what is stale is not queued"
    value = float(handle.last.get_attribute("aria-valuenow"))
    assert re.search(rf"D_over_r0: {{uniform: \[[\d.]+, {value:g}\]}}", tab.yaml())
    expect(tab.page.locator(".cell canvas.waiting")).to_have_count(0)


def test_a_lost_server_is_told_and_the_page_goes_on_when_it_is_back(browser, folder):
    token = "t" * 24
    places = Places("sensor", folder=folder)
    context = browser.new_context()
    with running(places, token=token) as studio:
        port = studio.port
        page = Page(context, studio.address.url)
    page.page.locator("#steps > .card .grip").first.press("ArrowDown")
    expect(page.page.locator("#banner")).to_contain_text("does not answer")
    with running(places, port=port, token=token):
        expect(page.page.locator("#banner")).to_be_hidden(timeout=WAIT_MS)
        page.settled()
        assert page.order() != [] and page.yaml() != preset_text("sensor"), "the change was kept"
    context.close()


def test_without_the_token_nothing_is_shown(browser, studio):
    page = browser.new_context().new_page()
    page.goto(studio.address.url.partition("#")[0])
    expect(page.locator("#banner")).to_contain_text("the address that lrfr studio has printed")
    assert page.locator("canvas").count() == 0


@pytest.mark.parametrize("width", [900, 1440, 2500])
def test_it_fits_dark_and_light_and_every_control_has_a_name(browser, studio, width):
    backs = set()
    for scheme in ("light", "dark"):
        context = browser.new_context(viewport={"width": width, "height": 1000}, color_scheme=scheme)
        tab = Page(context, studio.address.url)
        measured = tab.page.locator("html").evaluate(
            """root => ({ wide: root.scrollWidth > root.clientWidth,
              back: getComputedStyle(document.body).backgroundColor,
              nameless: [...document.querySelectorAll('button, input, select, textarea, [role=slider]')]
                .filter(node => !node.hidden && !(node.ariaLabel || node.textContent.trim() || (node.labels && node.labels.length && node.labels[0].textContent.trim())))
                .map(node => node.outerHTML.slice(0, 90)) })"""
        )
        assert not measured["wide"], "the page itself never scrolls sideways"
        assert measured["nameless"] == []
        backs.add(measured["back"])
        context.close()
    assert len(backs) == 2, "dark is another page"
