"""The site, built as `make site` builds it, and opened from its files in a browser."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest
from browser import chromium, watched
from conftest import ROOT

from multiconv.lessons import run as lessons

LESSONS = [lesson.name for lesson in lessons.lessons()]

pytestmark = [pytest.mark.xdist_group("lessons"), pytest.mark.timeout(900)]
CHECKED = ".sd-tab-set > input:checked + label"


@pytest.fixture(scope="module")
def site(build, lesson_tabs, tmp_path_factory):
    """Built by the script's own main, but for the lessons, which have run already."""
    output = tmp_path_factory.mktemp("built") / "site"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["build.py", "--output", str(output)])
        patch.setattr(build.lessons, "run", lambda chosen, backends, **_: lesson_tabs)
        build.main()
    return output


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def build():
    """The module that builds."""
    spec = importlib.util.spec_from_file_location("site_build", ROOT / "site" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---- The pages' text


def test_lines_that_the_reference_has_not_are_marked_and_blank_ones_are_not(build):
    assert build.differing_lines("a\nb\nc\n", "a\n\nB\nc\nd\n") == [3, 5]
    assert build.differing_lines("a\n", "a\n") == []


def test_a_fence_is_longer_than_any_in_the_code(build):
    assert build.block("code-block", "python", 'print("````")\n').startswith("`````{code-block} python\n")


def test_the_answer_to_an_exercise_is_folded(build, tmp_path):
    (tmp_path / "text.md").write_text("+++\ntitle = 'T'\norder = 1\n+++\n**1.** Q?\n\n:::{answer} 1\nA.\n:::\n\nB.\n")
    lesson = lessons.Lesson("one", tmp_path)
    written = build.rendered(tmp_path, lesson, lesson.parts, {}, "one")
    assert written == ["**1.** Q?", "::::::::{dropdown} Answer\n\nA.\n\n::::::::", "B."]


def test_a_script_that_fails_and_values_that_disagree_are_named(build, tmp_path):
    import numpy as np

    (tmp_path / "text.md").write_text("+++\ntitle = 'T'\norder = 1\ncompare = {Y = [1, 2]}\n+++\n")
    lesson = lessons.Lesson("one", tmp_path)
    tabs = {
        "numpy": lessons.Tab("numpy", values={"Y": np.array([1, 2])}),
        "torch": lessons.Tab("torch", values={"Y": np.array([1, 3])}),
        "jax": lessons.Tab("jax", error="in cell 'a':\nboom"),
    }
    faults = list(build.all_faults([lesson], {"one": tabs}))
    assert len(faults) == 2
    assert "one, jax: in cell 'a':\nboom" in faults[0]
    assert "one, torch: Y: element [1] is 3.0, not 2.0" in faults[1]


def test_it_does_not_delete_a_folder_that_is_no_earlier_build(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    command = [sys.executable, ROOT / "site" / "build.py", "--output", tmp_path, "--lessons", LESSONS[0]]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "no earlier build" in ran.stderr
    assert (tmp_path / "mine.txt").exists()


# ---- The pages in a browser


@pytest.mark.browser
def test_every_page_opens_without_an_error_a_request_elsewhere_or_a_need_to_scroll_sideways(site, browser):
    pages = sorted(site.rglob("*.html"))
    assert {f"{name}.html" for name in LESSONS} <= {page.name for page in pages}
    for options in ({"viewport": {"width": 1400, "height": 900}}, {"viewport": {"width": 390, "height": 800}}):
        with watched(browser, **options) as (page, faults):
            for path in pages:
                page.goto(path.as_uri())
                wide = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
                if wide[0] > wide[1]:
                    faults.append(f"{path.name} is {wide[0]} pixels wide, the window {wide[1]}")
            assert faults == []


@pytest.mark.browser
def test_search_finds_a_lesson(site, browser):
    with watched(browser) as (page, faults):
        page.goto(f"{(site / 'search.html').as_uri()}?q=stride")
        page.wait_for_selector("#search-results li a")
        assert any(
            "lessons/" in (a.get_attribute("href") or "") for a in page.query_selector_all("#search-results li a")
        )
        assert faults == []


def chosen(page):
    """Return the chosen tab of each set. A tab in a folded answer has a text, but no inner text."""
    return [text.strip() for text in page.locator(CHECKED).all_text_contents()]


@pytest.mark.browser
def test_all_tabs_follow_one_and_the_choice_is_remembered_on_the_next_page(site, browser):
    with watched(browser) as (page, faults):
        page.goto((site / "lessons" / f"{LESSONS[0]}.html").as_uri())
        sets = page.locator(".sd-tab-set").count()
        assert sets > 1
        assert chosen(page) == ["NumPy"] * sets
        for name in ("JAX", "MXNet"):
            page.locator(".sd-tab-set").nth(1).get_by_text(name, exact=True).click()
            assert chosen(page) == [name] * sets
        for other in (*(f"lessons/{name}" for name in LESSONS[1:]), "explorer"):
            page.goto((site / f"{other}.html").as_uri())
            assert set(chosen(page)) == {"MXNet"}, other
        assert faults == []


@pytest.mark.browser
def test_a_lesson_shows_code_output_marked_lines_maths_and_pictures(site, browser):
    with watched(browser) as (page, faults):
        page.goto((site / "lessons" / "cross-correlation.html").as_uri())
        page.locator(".sd-tab-set").first.get_by_text("PyTorch", exact=True).click()
        tab = page.locator(".sd-tab-set").first.locator(".sd-tab-content").nth(1)
        assert tab.is_visible()
        assert "import torch" in tab.inner_text()
        assert "tensor([[19., 25.]," in tab.locator(".output").inner_text()
        assert any("import torch" in line for line in tab.locator(".hll").all_inner_texts())
        assert page.locator("math").count() >= 1
        assert page.locator(".picture svg").first.bounding_box()["width"] > 100
        assert faults == []


@pytest.mark.browser
def test_the_answer_to_an_exercise_opens_by_a_click(site, browser):
    with watched(browser) as (page, faults):
        page.goto((site / "lessons" / "cross-correlation.html").as_uri())
        answer = page.locator("details.sd-dropdown").first
        assert not answer.get_by_text("finds the diagonal").first.is_visible()
        answer.locator("summary").click()
        assert answer.get_by_text("finds the diagonal").first.is_visible()
        assert answer.locator(".sd-tab-set").first.is_visible()
        assert answer.locator(".picture svg").is_visible()
        assert faults == []


# ---- The explorer by clicks


@pytest.fixture
def explorer(site, browser):
    with watched(browser) as (page, faults):
        page.goto((site / "explorer.html").as_uri())
        yield page
        assert faults == []


def fill(page, **values):
    for name, value in values.items():
        page.locator(f'#explorer [name="{name.replace("_", "-")}"]').fill(str(value))


def outputs(page):
    texts = page.locator("#explorer .output button").all_inner_texts()
    return [float(text.replace("\N{MINUS SIGN}", "-")) for text in texts]


@pytest.mark.browser
def test_an_output_pixel_shows_the_products_that_make_it(explorer):
    fill(explorer, height=3, width=3, kh=2, kw=2, stride_down=1, stride_across=1)
    fill(explorer, top=0, bottom=0, left=0, right=0)
    assert outputs(explorer) == [19, 25, 37, 43]  # d2l's first example
    explorer.get_by_label("output channel 0, row 1, column 0: 37").click()
    rows = explorer.locator("#explorer .products tbody tr").all_inner_texts()
    assert [row.split("\t") for row in rows] == [
        ["x[0, 1, 0]", "w[0, 0, 0, 0]", "3 \N{MIDDLE DOT} 0", "0"],
        ["x[0, 1, 1]", "w[0, 0, 0, 1]", "4 \N{MIDDLE DOT} 1", "4"],
        ["x[0, 2, 0]", "w[0, 0, 1, 0]", "6 \N{MIDDLE DOT} 2", "12"],
        ["x[0, 2, 1]", "w[0, 0, 1, 1]", "7 \N{MIDDLE DOT} 3", "21"],
    ]
    assert explorer.locator("#explorer .products tfoot td").inner_text() == "37"
    assert explorer.locator("#explorer .input td.seen").count() == 4
    explorer.keyboard.press("ArrowRight")
    assert explorer.locator('#explorer .output [aria-pressed="true"]').inner_text() == "43"
    assert explorer.evaluate("document.activeElement.dataset.output") == "0,1,1"


@pytest.mark.browser
def test_flipping_changing_a_number_and_the_pixels_that_the_floor_drops(explorer):
    fill(explorer, height=3, width=4, kh=2, kw=2, top=0, bottom=0, left=0, right=0)
    assert outputs(explorer) == [24, 36]
    assert explorer.locator("#explorer .input td.dropped").count() == 4  # the last row
    assert "1 left over" in explorer.locator("#explorer .message").inner_text()
    explorer.locator('#explorer [name="flip"]').check()
    assert outputs(explorer) == [6, 18]
    explorer.get_by_label("kernel 0, channel 0, row 1, column 1").fill("-1")
    explorer.keyboard.press("Tab")
    assert outputs(explorer) == [6, 10]
    assert (
        explorer.evaluate("document.activeElement.dataset.output") == "0,0,0"
    )  # and the focus is where Tab has put it
    fill(explorer, stride_across=1)
    assert outputs(explorer) == [6, 8, 10]  # what was typed is still there
    assert "mc.backend" in explorer.locator("#explorer-code-numpy").inner_text()


@pytest.mark.browser
def test_groups_and_words_for_padding(explorer):
    fill(explorer, channels=2, outputs=2, groups=2)
    explorer.locator('#explorer [name="padding"]').select_option("same")
    assert explorer.locator("#explorer .output table").count() == 2
    assert explorer.locator("#explorer .kernel table").count() == 2
    assert explorer.locator('#explorer [name="top"]').is_disabled()


@pytest.mark.browser
def test_what_is_no_convolution_is_said_and_can_be_mended(explorer):
    fill(explorer, stride_down=0)
    message = explorer.locator("#explorer .message")
    assert message.inner_text() == "ConvError: stride[0] must be at least 1, not 0"
    assert not explorer.locator("#explorer .results").is_visible()
    fill(explorer, stride_down=1)
    assert explorer.locator("#explorer .results").is_visible()
    fill(explorer, channels=2, outputs=3, groups=2)
    assert "groups=2 does not divide the 3 output channels" in message.inner_text()
    fill(explorer, channels=3, outputs=2)
    assert "takes 1 * 2 = 2" in message.inner_text()
    fill(explorer, channels=99)
    assert "from 1 to 4 on this page" in message.inner_text()
