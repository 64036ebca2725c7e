"""The report: complete, self-contained, safe against hostile names, and opened in a real browser at two
widths and two themes.
"""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from lrfr.core.errors import DataError, ImageFault
from lrfr.eval.report.compare import paired_rows
from lrfr.eval.report.plots import OKABE_ITO
from lrfr.eval.report.report import ReportOptions, as_text, build, to_html, to_json, to_markdown, write_report
from lrfr.eval.report.seeds import over_seeds
from lrfr.eval.report.text_table import aligned
from lrfr.eval.results import Cost
from tests.eval.test_results import toy_results
from tests.eval.world import identity_picture, save

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
]
FLAGS += ["--disable-component-update", "--disable-sync", "--hide-scrollbars"]


@pytest.fixture(scope="module")
def results():
    found = toy_results()
    cost = [Cost(24, 320.0, parameters=2_500_000, macs=109_000_000, bytes=10_100_000)]
    found = [replace(result, model=replace(result.model, cost=cost)) for result in found]
    return [replace(found[0], command="lrfr eval --embedder x:y"), *found[1:]]


@pytest.fixture(scope="module")
def page(results, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    save(folder / "sheet.png", identity_picture(0, 0, 60))
    write_report(
        results,
        folder / "report.html",
        ReportOptions(pictures=[(folder / "sheet.png", "what the model saw")], gains=("color", "gray")),
    )
    return folder / "report.html"


class Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.outside, self.ids, self.targets, self.images = [], set(), [], []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids.add(values.get("id"))
        for name in ("src", "href", "srcset", "action", "data"):
            link = values.get(name)
            if link and link.startswith("#"):
                self.targets.append(link[1:])
            elif link and not link.startswith("data:"):
                self.outside.append(link)
        if tag == "img":
            self.images.append(values)


def test_the_page_links_to_nothing_outside_and_every_picture_has_words(page):
    parser = Links()
    parser.feed(page.read_text("utf-8"))
    assert parser.outside == []
    assert set(parser.targets) <= parser.ids
    assert len(parser.images) >= 6
    assert all(image["alt"] and image["src"].startswith("data:image/") for image in parser.images)
    text = page.read_text("utf-8")
    assert "<script" not in text
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org)", re.sub(r"data:[^\"]+", "", text))


def test_every_form_tells_the_same_numbers(page, results):
    html, markdown = page.read_text("utf-8"), page.with_suffix(".md").read_text("utf-8")
    body = json.loads(page.with_suffix(".json").read_text("utf-8"))
    for result in results:
        value = f"{100 * result.metrics['accuracy'].value:.2f}"
        assert value in html and value in markdown
    assert len(body["results"]) == len(results) and "per_pair" not in body["results"][0]
    for title in (
        "What was compared",
        "Paired tests",
        "Relative gains",
        "Cost",
        "Pictures",
        "Provenance",
        "Reproduce",
    ):
        assert title in html and f"## {title}" in markdown
    assert "lrfr eval --embedder x:y" in html
    assert all(word in html for word in ("2.5 M", "10.1 MB", "0.109 G", ">3.12<"))


def test_rates_that_a_list_cannot_resolve_are_named_and_make_room(results):
    few = [
        replace(
            result,
            metrics={
                key: replace(m, resolvable=not key.startswith("TAR@FAR=0.0"))
                for key, m in result.metrics.items()
            },
        )
        for result in results
        if "TAR@FAR=0.01" in result.metrics
    ]
    (section,) = [found for found in build(few).sections if "n/a at all sizes" in str(found)]
    names = {table.caption.partition(",")[0] for table in section.tables}
    assert "TAR@FAR=0.1" in names and not names & {"TAR@FAR=0.01", "TAR@FAR=0.001"}
    assert any("TAR@FAR=0.01" in line for line in section.text)


def test_text_tables_have_numbers_to_the_right_and_words_to_the_left():
    text = aligned(["kind", "what", "n"], [["a", "of it", 5], ["b", "much more", 1200]])
    assert text.splitlines() == [
        "kind  what          n",
        "----  ---------  ----",
        "a     of it         5",
        "b     much more  1200",
    ]


def test_the_same_results_give_the_same_page(results):
    assert to_html(build(results[:1])) == to_html(build(results[:1]))


def test_hostile_names_stay_text(results):
    nasty = '<script>alert(1)</script>"|\n`'
    changed = [
        replace(
            result,
            model=replace(result.model, name=nasty if result.model.name == "gray" else "b"),
            benchmark="<img src=x onerror=alert(1)>",
        )
        for result in results
        if result.sizes == (24, 24)
    ]
    report = build(changed)
    html = to_html(report)
    assert "<script" not in html and "<img src=x" not in html
    rows = [line for line in to_markdown(report).splitlines() if "alert(1)" in line and line.startswith("|")]
    assert rows and all(len(re.findall(r"(?<!\\)\|", line)) >= 3 for line in rows)
    shown = [line for line in to_markdown(report).splitlines() if not line.startswith("    ")]
    assert shown and not any("<script" in line or "<img" in line for line in shown)
    json.loads(to_json(report))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("<script>alert(1)</script>", "&lt;script>alert(1)&lt;/script>"),
        ("[x](javascript:alert(1))", r"[x\](javascript:alert(1))"),
        ("![x][1]", r"![x\][1]"),
        ("[1]: http://x", r"[1\]: http://x"),
        ("a_b [1.0, 3.3] < 3 <= 4", "a_b [1.0, 3.3] < 3 <= 4"),
        ("two\n# lines", "two # lines"),
    ],
)
def test_markdown_shows_names_as_they_are(name, shown):
    assert as_text(name) == shown


def test_nothing_to_report_and_pictures_that_are_none_are_refused(results, tmp_path):
    with pytest.raises(DataError, match="lrfr eval"):
        build([])
    (tmp_path / "x.png").write_bytes(b"no picture")
    with pytest.raises(ImageFault):
        build(results, ReportOptions(pictures=[(tmp_path / "x.png", "x")]))


def luminance(color):
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_has_contrast_in_both_themes(page):
    style = page.read_text("utf-8").split("<style>")[1].split("</style>")[0]
    for block in re.findall(r":root \{([^}]*)\}", style):
        color = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block))
        for text in ("text", "soft", "link"):
            for back in ("back", "panel", "mark"):
                light, dark = sorted((luminance(color[text]), luminance(color[back])), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, back)


def test_line_colors_are_the_color_blind_safe_set():
    assert len(set(OKABE_ITO)) == 7


def browse(page, tmp_path, width, dark, probe=""):
    """Open the page with a measuring script appended to a copy of it; return the DOM and what the browser
    complained about.
    """
    text = page.read_text("utf-8").replace(
        "default-src 'none';", "default-src 'none'; script-src 'unsafe-inline';"
    )
    copy = tmp_path / f"page-{width}-{dark}.html"
    copy.write_text(text.replace("</body>", f"<script>{probe}</script></body>"), "utf-8")
    theme = ["--blink-settings=preferredColorScheme=0"] if dark else []
    command = [
        CHROMIUM,
        *FLAGS,
        *theme,
        f"--user-data-dir={tmp_path / f'profile-{width}-{dark}'}",
        f"--window-size={width},900",
    ]
    done = subprocess.run(
        [
            *command,
            "--enable-logging=stderr",
            "--v=0",
            "--virtual-time-budget=3000",
            "--dump-dom",
            copy.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


PROBE = """
const seen = element => { const box = element.getBoundingClientRect(); return [box.left, box.top, box.right, box.bottom]; };
const blocks = [...document.querySelectorAll('h1, h2, section > p, .table, figure, pre, footer')].map(seen);
const meet = (a, b) => a[0] < b[2] - 1 && b[0] < a[2] - 1 && a[1] < b[3] - 1 && b[1] < a[3] - 1;
const overlaps = blocks.filter((a, i) => blocks.some((b, j) => i < j && meet(a, b))).length;
const broken = [...document.images].filter(image => !image.complete || image.naturalWidth === 0).length;
const size = element => parseFloat(getComputedStyle(element).fontSize);
const small = [...document.querySelectorAll('p, td, th, figcaption, pre')].filter(element => size(element) < 11).length;
const root = document.documentElement;
root.setAttribute('data-measure', JSON.stringify({ overlaps, broken, small, images: document.images.length,
  scroll: root.scrollWidth, width: root.clientWidth, back: getComputedStyle(document.body).backgroundColor,
  image: document.images[0].currentSrc.length, text: getComputedStyle(document.body).color }));
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")
def test_a_browser_shows_it_at_phone_and_desktop_width_dark_and_light(page, tmp_path):
    backs = {}
    for width in (500, 1200):
        for dark in (False, True):
            dom, complaints = browse(page, tmp_path, width, dark, PROBE)
            found = re.search(r'data-measure="([^"]*)"', dom)
            measure = json.loads(found.group(1).replace("&quot;", '"'))
            assert complaints == []
            assert measure["broken"] == 0 and measure["images"] >= 6
            assert measure["overlaps"] == 0
            assert measure["small"] == 0
            assert measure["scroll"] <= measure["width"], "the page itself never scrolls sideways"
            backs[width, dark] = measure["back"], measure["image"]
    assert backs[500, False] != backs[500, True], "dark is another page with other pictures"
    assert backs[500, False] == backs[1200, False]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")
def test_the_browser_test_sees_faults(page, tmp_path):
    """The measuring above must be able to fail: a broken picture, an overlap, a wide block and an error are
    all noticed.
    """
    harm = """
      document.images[0].parentElement.outerHTML = '<img src="data:image/png;base64,AAAA" alt="x">';
      const p = document.querySelector('h2'); p.style.marginBottom = '-80px'; p.style.width = '3000px'; console.error('seen');
    """
    dom, complaints = browse(
        page, tmp_path, 500, False, harm + "addEventListener('load', () => {" + PROBE + "});"
    )
    measure = json.loads(re.search(r'data-measure="([^"]*)"', dom).group(1).replace("&quot;", '"'))
    assert measure["broken"] >= 1 and measure["overlaps"] >= 1 and measure["scroll"] > measure["width"]
    assert any("seen" in line for line in complaints)


def renamed(results, name, shift=0.0):
    """Return the results of one model under another name, its accuracies moved."""
    first = results[0].model.name
    return [
        replace(
            result,
            model=replace(result.model, name=name),
            metrics={
                key: replace(found, value=found.value + shift * (key == "accuracy"))
                for key, found in result.metrics.items()
            },
        )
        for result in results
        if result.model.name == first
    ]


def test_seeds_are_averaged_and_a_lone_run_is_not(results):
    runs = [
        *renamed(results, "x-s0"),
        *renamed(results, "x-s1", 0.02),
        *renamed(results, "x-s4", 0.04),
        *renamed(results, "alone-s0"),
    ]
    table = over_seeds(runs).tables[0]
    assert [row[0] for row in table.rows] == ["x"]
    first = next(result for result in runs if "accuracy" in result.metrics)
    assert table.rows[0][1] == f"{100 * first.metrics['accuracy'].value + 2:.2f} (±2.00)"
    assert over_seeds(results) is None and over_seeds(renamed(results, "x-s0")) is None


def test_asked_pairs_stand_alone_in_their_order(results):
    runs = [result for name in "abc" for result in renamed(results, name)]
    every = {tuple(row[2:4]) for row in paired_rows(runs)}
    assert every == {("a", "b"), ("a", "c"), ("b", "c")}
    assert {tuple(row[2:4]) for row in paired_rows(runs, [("c", "a"), ("b", "gone")])} == {("c", "a")}
    assert "Paired tests" in [
        section.title for section in build(runs, ReportOptions(paired=[("c", "a")])).sections
    ]


def test_a_report_writes_over_nothing_but_a_report(tmp_path):
    from lrfr.core.errors import SpecError
    from lrfr.eval.report.report import _check_beside

    for name in ("a.json", "b.md"):
        (tmp_path / name).write_text('{"format": "lrfr-result/1", "results": []}')
        with pytest.raises(SpecError, match="a report is written here too"):
            _check_beside(tmp_path / name.replace(".json", ".html").replace(".md", ".html"))
    (tmp_path / "c.json").write_text('{"title": "", "sections": [], "results": []}')
    (tmp_path / "c.md").write_text("of before")
    _check_beside(tmp_path / "c.html")
    _check_beside(tmp_path / "d.html")


def test_names_stand_in_figures_as_they_are():
    """matplotlib reads dollars as formulas, of which half a one ends the page, and drops names with an underscore."""
    import io

    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    from lrfr.eval.analysis.figure_text import legend_name, without_formulas

    names = ["a$\\frac{$b", "_x", "plain, 14 px", "$", "\x1b[31m", "Ünïcode"]
    figure = Figure()
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    for name in names:
        axes.plot([1, 2], [1, 2], label=legend_name(name))
    axes.set_xscale("log")
    shown = [text.get_text() for text in axes.legend().get_texts()]
    assert [text.lstrip("\u200b") for text in shown] == [*names[:4], "\\x1b[31m", names[5]]
    without_formulas(figure).savefig(io.BytesIO(), format="svg")


def test_a_result_that_does_not_agree_with_itself_is_an_error_of_the_data(results, monkeypatch):
    def odd(_):
        return {}["n_neg"]

    monkeypatch.setattr("lrfr.eval.report.report.sections.compared", odd)
    with pytest.raises(DataError, match=r"do not fit one another.*n_neg"):
        build(results)
