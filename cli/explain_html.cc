// One HTML file: headings, paragraphs, preformatted formulas and tables, with a style sheet inside. Colours follow the
// reader's light or dark setting; dropped cells are hatched and fired ones framed, so that a print in black and white
// says the same.

#include <cstdio>

#include "cli/explain_show.h"
#include "cli/file.h"
#include "cli/html.h"

namespace dropkit::cli {
namespace {

constexpr int64_t kFewColumns = 12;  // more are set smaller, so that 24 fit on a sheet of paper

constexpr const char* kStyle = R"(
:root { color-scheme: light dark; --text: #1b1b1b; --soft: #555; --page: #fff; --line: #8a8a8a; --panel: #f4f4f2;
  --drop: #f3c9c4; --hatch: #c98a82; --fire: #1f3a68; --fire-text: #fff; }
@media (prefers-color-scheme: dark) { :root { --text: #e8e8e8; --soft: #aaa; --page: #181a1c; --line: #6f6f6f;
  --panel: #222528; --drop: #5b2f2b; --hatch: #8f5a54; --fire: #bcd2ff; --fire-text: #10182a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem; max-width: 76rem; background: var(--page); color: var(--text);
  font: 1rem/1.5 system-ui, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.35rem; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 0 0 .4rem; }
p { margin: .3rem 0; }
code, pre, td { font-family: "DejaVu Sans Mono", ui-monospace, monospace; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: .5rem 0 1rem; font-size: .85rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
ul.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .3rem 1.5rem; padding: 0; margin: .5rem 0 1rem;
  font-size: .85rem; }
ul.legend li { display: flex; align-items: center; gap: .5rem; }
section { border-top: 1px solid var(--line); padding: 1rem 0; break-inside: avoid; }
pre { background: var(--panel); padding: .6rem .8rem; margin: .6rem 0; overflow-x: auto; font-size: .85rem;
  white-space: pre-wrap; border-left: 3px solid var(--line); }
.row { display: flex; flex-wrap: wrap; gap: .7rem 2.5rem; align-items: flex-start; }
.words { flex: 1 1 30rem; min-width: 0; max-width: 46rem; }
.grids { display: flex; flex-wrap: wrap; gap: 1rem 2rem; max-width: 100%; }
figure { margin: 0; max-width: 100%; overflow-x: auto; }
figcaption { font-size: .8rem; color: var(--soft); margin-bottom: .2rem; }
table { border-collapse: collapse; }
td, .cell { border: 1px solid var(--line); min-width: 2.3rem; height: 2.1rem; padding: 0 .25rem; text-align: center;
  font-size: .85rem; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.cell { display: inline-grid; place-items: center; }
.dropped { background: repeating-linear-gradient(45deg, var(--drop) 0 5px, var(--hatch) 5px 6px); }
.dropped b { background: var(--drop); padding: 0 .15rem; font-weight: normal; }
.fired { background: var(--fire); color: var(--fire-text); font-weight: bold; }
.fired.dropped { background: repeating-linear-gradient(45deg, var(--drop) 0 5px, var(--hatch) 5px 6px);
  color: inherit; outline: 3px solid var(--fire); outline-offset: -3px; }
.fired.dropped b { font-weight: bold; }
.outside { border: none; background: none; }
.many td { min-width: 1.9rem; height: 1.8rem; font-size: .75rem; }
@media print { body { max-width: none; padding: 0; font-size: 10pt; }
  .many td { min-width: 2em; height: 1.8em; padding: 0; font-size: 6.5pt; } .many b { padding: 0; } }
)";

std::string ClassOf(const GridCell& cell) {
  std::string names;
  if (cell.fired) names += " fired";
  if (cell.dropped) names += " dropped";
  if (cell.outside) names += " outside";
  return names.empty() ? "" : names.substr(1);
}

std::string CellOf(const GridCell& cell) {
  const std::string names = ClassOf(cell), text = EscapeHtml(cell.text);
  return (names.empty() ? "<td>" : "<td class=\"" + names + "\">") + (cell.dropped ? "<b>" + text + "</b>" : text) +
         "</td>";
}

std::string GridOf(const Grid& grid) {
  std::string html = "<figure><figcaption>" + EscapeHtml(grid.title) + "</figcaption>";
  html += grid.columns > kFewColumns ? "<table class=\"many\">" : "<table>";
  for (size_t i = 0; i < grid.cells.size(); ++i) {
    const bool first = i % static_cast<size_t>(grid.columns) == 0;
    html += (first ? (i == 0 ? "<tr>" : "</tr>\n<tr>") : "") + CellOf(grid.cells[i]);
  }
  return html + "</tr></table></figure>\n";
}

std::string WordsOf(const Step& step) {
  std::string html = "<div class=\"words\">\n";
  for (const std::string& sentence : step.sentences) html += "<p>" + EscapeHtml(sentence) + "</p>\n";
  for (size_t i = 0; i < step.formulas.size(); ++i) html += (i == 0 ? "<pre>" : "\n") + EscapeHtml(step.formulas[i]);
  return html + (step.formulas.empty() ? "" : "</pre>\n") + "</div>\n";
}

std::string SectionOf(const Step& step, int number) {
  std::string html = "<section>\n<h2>" + std::to_string(number) + ". " + EscapeHtml(step.title) +
                     "</h2>\n<div class=\"row\">\n" + WordsOf(step);
  if (!step.grids.empty()) {
    html += "<div class=\"grids\">\n";
    for (const Grid& grid : step.grids) html += GridOf(grid);
    html += "</div>\n";
  }
  return html + "</div>\n</section>\n";
}

// A spec line may break after its commas.
std::string Breakable(const std::string& text) {
  std::string html;
  for (const char c : EscapeHtml(text)) html += c == ',' ? std::string(",<wbr>") : std::string(1, c);
  return html;
}

std::string ValueOf(const Setting& setting) {
  return (setting.code.empty() ? "" : "<code>" + Breakable(setting.code) + "</code>") + EscapeHtml(setting.prose);
}

std::string LegendOf() {
  return "<ul class=\"legend\"><li><span class=\"cell fired\">*</span>fires</li>"
         "<li><span class=\"cell\">.</span>could fire, does not</li>"
         "<li><span class=\"cell dropped\"><b>0</b></span>dropped</li>"
         "<li><span class=\"cell fired dropped\"><b>1*</b></span>dropped, and the one that fired</li>"
         "<li>no frame: nothing can fire here</li></ul>\n";
}

std::string HeadOf(const Page& page) {
  return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
         "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
         "<link rel=\"icon\" href=\"data:,\">\n<title>" +
         EscapeHtml(page.title) + "</title>\n<style>" + kStyle + "</style>\n</head>\n";
}

}  // namespace

void WritePageHtml(const Page& page, const std::string& path) {
  std::string html = HeadOf(page) + "<body>\n<h1><code>" + Breakable(page.title) + "</code></h1>\n<dl>";
  for (const Setting& setting : page.setting) html += "<dt>" + setting.name + "</dt><dd>" + ValueOf(setting) + "</dd>";
  html += "</dl>\n" + LegendOf();
  int number = 0;
  for (const Step& step : page.steps) html += SectionOf(step, ++number);
  html += "</body>\n</html>\n";
  ReplaceFile(path, html);
}

}  // namespace dropkit::cli
