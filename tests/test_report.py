"""report.html in a headless Chromium: whole at several widths and on paper, silent, and asking nothing of the network.

The pages are of synthetic jobs, written by the program that DROPKIT_REPORT_PAGES names, else build/tests/report_pages.
"""

import os
import pathlib
import re
import shutil
import subprocess

import pytest
import report_checks
from browser import Browser

ROOT = pathlib.Path(__file__).resolve().parent.parent
WRITER = os.environ.get("DROPKIT_REPORT_PAGES") or str(ROOT / "build" / "tests" / "report_pages")
PAGES = ["family", "twelve", "two", "single", "failed", "near_100", "fractions", "all_right"]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    if shutil.which("gnuplot") is None:
        pytest.skip("gnuplot is not installed; ./setup.sh installs it")
    folder = tmp_path_factory.mktemp("pages")
    subprocess.run([WRITER, folder], check=True, timeout=120)
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("browser") / "net.json") as opened:
        yield opened


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_missing_or_clipped(browser, pages, name):
    report_checks.check_page(browser, pages / name / "report.html")


def test_a_whole_family_is_there(browser, pages):
    browser.open((pages / "family" / "report.html").as_uri(), 1200)
    assert browser.value("document.querySelectorAll('tr.own').length") == 8
    assert browser.value("document.querySelectorAll('.plot svg').length") == 4
    assert browser.value("document.querySelectorAll('.sample').length") == 3
    assert browser.value("document.querySelectorAll('.sample .method').length") == 3 * 8
    # Activation and item's and found box for each method and image, the box and the square for each image.
    assert browser.value("document.querySelectorAll('.frame svg rect').length") == 3 * (8 * 4 + 2 + 3)
    words = browser.value("[...document.querySelectorAll('.plot text')].map(e => e.textContent.trim())")
    for axis in ("epoch", "accuracy on clean test images, %", "accuracy in training, %", "accuracy, %", "points"):
        assert axis in words
    labels = browser.value("[...document.querySelectorAll('#clean_curves text')].map(e => e.textContent.trim())")
    table = browser.value(
        "[...document.querySelectorAll('tr.own')].map(r => [r.cells[0].textContent, r.cells[1].textContent])"
    )
    for number, method in table:
        (label,) = [text for text in labels if text.split()[0] == number and len(text.split()) == 2]
        start, _, end = label.split()[1].partition("..")
        assert method.startswith(start) and method.endswith(end)


def test_grey_paper_loses_no_method(browser, pages):
    """No two methods share both the dashes of their lines and the shape of their markers."""
    browser.open((pages / "twelve" / "report.html").as_uri(), 1200)
    looks = browser.value(
        """[...document.querySelectorAll('#clean_curves g[id*=_plot_]')].map(
             g => [g.querySelector('path')?.getAttribute('stroke-dasharray') ?? 'solid',
                   [...g.querySelectorAll('use')].at(-1)?.getAttribute('xlink:href')])"""
    )
    assert len(looks) == 24  # lines and bars in turn
    pairs = [(line[0], bars[1]) for line, bars in zip(looks[::2], looks[1::2])]
    assert len(set(pairs)) == 12 and len({marker for _, marker in pairs}) == 12
    assert len({dashes for dashes, _ in pairs}) == 5


@pytest.mark.parametrize("name", ["family", "twelve"])
def test_narrow_screens_scroll_the_table_not_the_page(browser, pages, name):
    browser.open((pages / name / "report.html").as_uri(), 390)
    assert browser.value("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    sizes = "[...document.querySelectorAll('.plot svg')].map(e => e.getBoundingClientRect().width)"
    assert all(width >= 700 for width in browser.value(sizes))  # letters stay readable


def test_paper(browser, pages):
    browser.open((pages / "family" / "report.html").as_uri(), 1200)
    pdf = browser.pdf()
    assert pdf.startswith(b"%PDF")
    assert 4 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 16


def test_cells_are_a_whole_number_of_screen_pixels(browser, pages):
    browser.open((pages / "family" / "report.html").as_uri(), 1200)
    scales = browser.value("[...document.images].map(i => i.clientWidth / i.naturalWidth)")
    assert scales and all(scale == int(scale) >= 1 for scale in scales)


def test_no_network_is_asked(pages, tmp_path):
    """With a page that does ask beside it, so that the check is known to see one."""
    log = tmp_path / "net.json"
    with Browser(log) as browser:
        for name in PAGES:
            browser.open((pages / name / "report.html").as_uri(), 1200)
    assert report_checks.asked_by_pages(log) == []
    other = tmp_path / "other.html"
    other.write_text('<img src="http://picture.invalid/a.png">')
    with Browser(log) as browser:
        events = browser.open(other.as_uri(), 1200)
    assert "http://picture.invalid/a.png" in report_checks.asked_by_pages(log)
    with pytest.raises(AssertionError):
        report_checks.check_events(events)


@pytest.mark.parametrize(
    "damage, complaint",
    [
        (("data:image/png;base64,iVBOR", "data:image/png;base64,jVBOR"), "no picture"),
        (("<h1>", '<h1 style="width: 1500px">'), "page is"),
        ((">epoch<", ' dx="700">epoch<'), "clipped in its plot"),
        ((">epoch<", "> <"), "a name of an x axis"),
        (("accuracy in training, %<", " <"), "a name of a y axis"),
        ((".word {", ".word { width: 4px; overflow-wrap: anywhere;"), "breaks inside a word"),
        (("table {", "table { min-width: 1900px;"), "shows"),
    ],
)
def test_the_checks_see_damage(browser, pages, tmp_path, damage, complaint):
    text = (pages / "family" / "report.html").read_text()
    assert damage[0] in text
    page = tmp_path / "report.html"
    page.write_text(text.replace(*damage))
    browser.open(page.as_uri(), 1200)
    assert any(complaint in sentence for sentence in browser.value(report_checks.MISSING))


def test_without_gnuplot_the_page_says_so_and_is_whole(browser, tmp_path):
    if shutil.which("gnuplot") is None:
        pytest.skip("gnuplot, which the page is to miss, is not installed")
    empty = tmp_path / "bin"
    empty.mkdir()
    subprocess.run([WRITER, tmp_path], check=True, timeout=120, env={**os.environ, "PATH": str(empty)})
    report_checks.check_page(browser, tmp_path / "family" / "report.html")
    said = browser.value("[...document.querySelectorAll('.plot .problem')].map(e => e.textContent)")
    assert said == ["No plot here: gnuplot is not on PATH."] * 4
