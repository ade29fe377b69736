"""The report that a real, tiny `dropkit train` leaves, in a headless Chromium.

Needs the program with training (DROPKIT_BIN, else build/dropkit). What any report must be is test_report.py's concern.
"""

import json
import os
import shutil
import subprocess

import pytest
import report_checks
from browser import Browser
from test_train import DROPBLOCK, command, make_part, train

METHODS = ["none", DROPBLOCK, "cutout:size=10,region=valid", "drop_connect", "none-1"]


@pytest.fixture(scope="module", params=["scenes", "fashion"])
def job(request, tmp_path_factory):
    data, out = tmp_path_factory.mktemp("idx"), tmp_path_factory.mktemp("out")
    make_part(data, "train", 600, 1)
    make_part(data, "t10k", 200, 2)
    train(
        data,
        *("--task", request.param, "--seeds", "0,3", "--epochs", 2, "--out", out),
        methods=METHODS,
        expect=(0, 1),
    )
    return request.param, data, out


@pytest.mark.skipif(shutil.which("gnuplot") is None, reason="gnuplot is not installed; ./setup.sh installs it")
def test_page_is_whole_and_asks_no_network(job, tmp_path):
    task, data, out = job
    with Browser(tmp_path / "net.json") as browser:
        report_checks.check_page(browser, out / "report.html")
        cells = "[...document.querySelectorAll('tr.own')].map(r => [...r.cells].map(c => c.textContent))"
        numbers = browser.value(cells)
        facts = browser.value("document.querySelector('.facts').textContent")
        activations = browser.value("[...document.images].filter(i => i.alt.startsWith('class activation')).length")
        images = browser.value("document.querySelectorAll('.sample').length")
        rows = browser.value("document.querySelectorAll('.sample .method').length")
        plots = browser.value("document.querySelectorAll('.plot svg').length")
    assert report_checks.asked_by_pages(tmp_path / "net.json") == []
    assert [row[1] for row in numbers] == METHODS and all(row[2] == "2" for row in numbers)
    found = json.loads((out / "results.json").read_text())
    clean = [r["clean"] for r in found if r["method"] == DROPBLOCK]
    assert numbers[1][4].startswith(f"{sum(clean) / 2:.2f}")
    assert found[0]["commit"] in facts and "0, 3" in facts and str(data) in facts
    assert plots == 4
    assert images >= 1 and rows == images * len(METHODS)
    assert activations == (rows if task == "scenes" else 0)


def test_a_resumed_job_has_the_same_curves(job):
    """Curves come from the checkpoints where runs are not run again."""
    task, data, out = job
    page = out / "report.html"
    before = page.read_text()
    line = ["--task", task, "--seeds", "0,3", "--epochs", 2, "--out", out, "--resume"]
    train(data, *line, methods=METHODS, expect=(0, 1))

    def curves(text):
        return text[text.index('id="clean_curves"') : text.index("<h2>Differences")]

    assert curves(before) == curves(page.read_text())


def test_without_gnuplot_the_job_still_succeeds(job, tmp_path):
    task, data, _ = job
    empty = tmp_path / "bin"
    empty.mkdir()
    line = command(data, "--task", task, "--seeds", 0, "--epochs", 0, "--out", tmp_path / "out")
    done = subprocess.run(line, capture_output=True, text=True, timeout=300, env={**os.environ, "PATH": str(empty)})
    assert done.returncode == 0, done.stderr
    assert "Results" in (tmp_path / "out" / "report.html").read_text()
