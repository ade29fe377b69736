"""What must hold of any report.html in a browser, for the tests that open one."""

import json
import re

# Everything that could be missing or clipped, as one list of sentences; empty when the page is whole.
MISSING = """
(() => {
  const wrong = [];
  const name = e => `${e.tagName} "${(e.alt ?? e.textContent).trim().slice(0, 60)}"`;
  const page = document.documentElement;
  if (page.scrollWidth > page.clientWidth) wrong.push(`page is ${page.scrollWidth} wide, window ${page.clientWidth}`);
  for (const e of document.images) if (!(e.naturalWidth > 0 && e.clientWidth > 0)) wrong.push('no picture: ' + name(e));
  for (const e of document.querySelectorAll('svg, figure, table, h1, h2, h3, p, dd')) {
    const box = e.getBoundingClientRect();
    if (!(box.width > 0 && box.height > 0)) wrong.push('no size: ' + name(e));
    if (box.left < 0 || box.right > page.clientWidth + 0.5) wrong.push('outside: ' + name(e));
  }
  for (const e of document.querySelectorAll('.scroll, .who, dd, td'))
    if (e.scrollWidth > e.clientWidth + 1) wrong.push(`holds ${e.scrollWidth}, shows ${e.clientWidth}: ` + name(e));
  for (const e of document.querySelectorAll('.word'))
    if (e.textContent.length < 20 && e.clientHeight > 30) wrong.push('breaks inside a word: ' + e.textContent);
  for (const svg of document.querySelectorAll('.plot svg')) {
    const view = svg.viewBox.baseVal, shown = [];
    for (const e of svg.querySelectorAll('text')) {
      const box = e.getBBox(), place = e.getCTM(), frame = svg.getCTM().inverse().multiply(place);
      const corners = [[box.x, box.y], [box.x + box.width, box.y + box.height]].map(([x, y]) =>
        [frame.a * x + frame.c * y + frame.e, frame.b * x + frame.d * y + frame.f]);
      if (box.width > 0 && corners.every(([x, y]) => x >= 0 && y >= 0 && x <= view.width && y <= view.height))
        shown.push(e.textContent.trim());
    }
    for (const [axis, names] of [['x', /^(epoch|points)$/], ['y', /^(accuracy.*, %|method)$/]])
      if (!shown.some(text => names.test(text)))
        wrong.push(`a name of ${axis === 'x' ? 'an x' : 'a y'} axis is not to be seen: ` + svg.closest('figure').id);
  }
  for (const svg of document.querySelectorAll('.plot svg')) {
    const frame = svg.getBoundingClientRect();
    const places = [];
    for (const e of svg.querySelectorAll('text')) {
      const box = e.getBoundingClientRect();
      if (!e.textContent.trim()) continue;
      if (box.left < frame.left || box.right > frame.right || box.top < frame.top || box.bottom > frame.bottom)
        wrong.push('clipped in its plot: ' + e.textContent);
      for (const [other, text] of places)
        if (box.left < other.right - 1 && other.left < box.right - 1 && box.top < other.bottom - 4 &&
            other.top < box.bottom - 4) wrong.push(`'${e.textContent}' and '${text}' lie on each other`);
      places.push([box, e.textContent]);
    }
  }
  return wrong;
})()
"""


def check_events(events):
    """No message on the console, no exception, and nothing loaded but the page and its own data."""
    for event in events:
        method, parameters = event["method"], event["params"]
        assert method not in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"), parameters
        assert method != "Network.loadingFailed", parameters
        if method == "Network.requestWillBeSent":
            assert re.match("file:|data:", parameters["request"]["url"]), parameters["request"]["url"]


def check_page(browser, path, widths=(1200, 800)):
    """Opens the page in windows of several widths; leaves it open in the last."""
    for width in widths:
        check_events(browser.open(path.as_uri(), width))
        wrong = browser.value(MISSING)
        assert not wrong, f"{path} at {width} pixels: " + "; ".join(wrong)


def asked_by_pages(net_log):
    """What a page from a file asked of the network, out of a browser's net log: hosts looked up and URLs.

    The browser's own services ask too, whatever the flags; each request says on whose behalf it is made.
    """
    events = [event.get("params", {}) for event in json.loads(net_log.read_text())["events"]]
    keys = ("network_isolation_key", "network_anonymization_key")
    own = [event for event in events if any("file://" in str(event.get(key)) for key in keys)]
    return sorted({event.get("url") or event.get("host") or str(event) for event in own})
