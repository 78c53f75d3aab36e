"""The plots beside the tables of docs/performance.md."""

from xml.etree import ElementTree

from tests.benchmarks.plots import LABEL, WIDE, Bar, bars
from tests.benchmarks.sides import Comparison, Runs

SVG = "{http://www.w3.org/2000/svg}"


def test_bars_are_as_long_as_their_ratio_and_the_line_is_at_one() -> None:
    plot = ElementTree.fromstring(bars("<Times>", [Bar("a & b", 2.0), Bar("c", 0.5)]))
    widths = [float(bar.attrib["width"]) for bar in plot.iter(f"{SVG}rect")]
    assert widths == [WIDE, WIDE / 4]
    (line,) = plot.iter(f"{SVG}line")
    assert float(line.attrib["x1"]) == LABEL + WIDE / 2
    assert [bar.attrib["class"] for bar in plot.iter(f"{SVG}rect")] == ["bar", "bar slower"]
    texts = [text.text for text in plot.iter(f"{SVG}text")]
    assert texts == ["<Times>", "a & b", "2.00", "c", "0.50"]


def test_a_plot_is_readable_on_a_dark_page() -> None:
    assert "prefers-color-scheme: dark" in bars("t", [Bar("a", 1.0)])


def test_a_ratio_is_of_medians_and_its_spread_of_runs_that_followed_each_other() -> None:
    row = Comparison(
        workload="PCA",
        before=Runs(elapsed=(2.0, 4.0, 9.0), processor=(3.0, 3.0, 4.0)),
        after=Runs(elapsed=(1.0, 4.0, 3.0), processor=(2.0, 9.0, 1.0)),
    )
    assert row.ratio == 4 / 3
    assert row.processor_ratio == 3 / 2
    assert row.spread == "1.00 to 3.00"
