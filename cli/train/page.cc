// Styles for screens from 360 pixels up and for paper; dark on white, no colour that carries meaning alone.
#include "cli/train/page.h"

#include <algorithm>

namespace dropkit::cli {
namespace {

constexpr const char* kStyle = R"(
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 24px 20px 48px; max-width: 1100px; background: #fff; color: #1b1b1b;
       font: 16px/1.45 system-ui, "DejaVu Sans", sans-serif; }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 12px; overflow-wrap: anywhere; }
h2 { font-size: 20px; margin: 40px 0 8px; padding-top: 12px; border-top: 2px solid #1b1b1b; }
h3 { font-size: 16px; margin: 28px 0 8px; }
p, figcaption { max-width: 78ch; overflow-wrap: anywhere; }
code, pre { font: 14px/1.4 "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; white-space: pre-wrap; margin: 0; }
figure { margin: 0; }
figcaption, .note { font-size: 14px; color: #333; }
.problem { border: 2px solid #1b1b1b; padding: 10px 14px; margin: 16px 0; font-weight: 600; }
.word { display: inline-block; max-width: 100%; vertical-align: top; }
dl.facts { display: grid; grid-template-columns: max-content 1fr; gap: 4px 18px; margin: 0; }
dl.facts dt { font-weight: 600; } dl.facts dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 8px; text-align: right; white-space: nowrap; vertical-align: top; }
thead th { border-bottom: 2px solid #1b1b1b; vertical-align: bottom; }
th.name, td.name { text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 150px; }
tr.own td { border-top: 1px solid #bbb; } tr.own td.name { font-weight: 600; }
tr.minus td { color: #333; } tr.minus td.name { padding-left: 22px; }
.plot { margin: 12px 0 28px; }
.plot svg { display: block; width: 100%; height: auto; margin-bottom: 8px; }
.sample { margin: 0 0 32px; }
.strip { display: flex; flex-wrap: wrap; gap: 8px 12px; align-items: flex-start; min-width: 0; }
.strip figure { width: 114px; } .strip figure.wide { width: 170px; }
.sample > .strip { margin-bottom: 12px; }
.strip figcaption { font-size: 12px; line-height: 1.3; margin-top: 3px; }
.frame { position: relative; border: 1px solid #777; width: fit-content; max-width: 100%; overflow: hidden; }
.frame img { display: block; max-width: 100%; height: auto; image-rendering: pixelated; }
.frame svg { position: absolute; inset: 0; width: 100%; height: 100%; }
.method { display: grid; grid-template-columns: 210px minmax(0, 1fr); gap: 6px 18px; padding: 10px 0;
          border-top: 1px solid #ccc; break-inside: avoid; }
.who { min-width: 0; overflow-wrap: anywhere; font-size: 14px; }
.who b, .who span { display: block; }
@media (max-width: 900px) {
  table { font-size: 12px; }
  th, td { padding: 4px; }
  th.name, td.name { min-width: 120px; }
}
@media (max-width: 640px) {
  body { padding: 14px 12px 32px; }
  .method { grid-template-columns: minmax(0, 1fr); }
  .plot .scroll svg { min-width: 700px; }
}
@media print {
  @page { margin: 14mm; }
  body { max-width: none; padding: 0; font-size: 11pt; }
  h2, h3 { break-after: avoid; }
  .plot, tr, .strip figure { break-inside: avoid; }
  .scroll { overflow: visible; }
  th, td { padding: 3px 5px; font-size: 9pt; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
)";

}  // namespace

std::string Breakable(std::string_view name) {
  std::string html;
  for (const char c : name) {
    if (c == '@') html += "<wbr>";
    html += EscapeHtml({&c, 1});
    if (c == ':' || c == ',' || c == '=') html += "<wbr>";
  }
  return html;
}

std::string Words(std::string_view line) {
  std::string html;
  for (size_t start = 0; start <= line.size();) {
    const size_t end = std::min(line.find(' ', start), line.size());
    html +=
        (start > 0 ? " " : "") + ("<span class=\"word\">" + EscapeHtml(line.substr(start, end - start))) + "</span>";
    start = end + 1;
  }
  return html;
}

std::string PageStart(const std::string& title) {
  return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
         "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
         "style-src 'unsafe-inline'\">\n"
         "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
         "<link rel=\"icon\" href=\"data:,\">\n" +
         Element("title", title) + "<style>" + kStyle + "</style>\n</head>\n<body>\n";
}

std::string PageEnd() { return "</body>\n</html>\n"; }

std::string Element(const std::string& tag, std::string_view text, const std::string& css_class) {
  const std::string start = css_class.empty() ? tag : tag + " class=\"" + css_class + "\"";
  return "<" + start + ">" + EscapeHtml(text) + "</" + tag + ">\n";
}

}  // namespace dropkit::cli
