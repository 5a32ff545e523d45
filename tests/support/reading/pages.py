"""What tests ask of an open page."""

from __future__ import annotations

from typing import Any


def until(page: Any, condition: str) -> None:
    """Wait, five seconds at most, until a JavaScript expression is true (its Playwright-own waiting needs eval)."""
    for _ in range(100):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never true: {condition}")


def rows_shown(page: Any, table: str) -> int:
    """How many rows of a live table its filter leaves."""
    count = page.locator(f"#{table} [data-role=count]").text_content()
    return int(count.split(" of ")[0].replace(",", ""))


def canvas_of(page: Any) -> str | None:
    """The picture of the parallel coordinates, where the page has any."""
    picture: str | None = page.evaluate("(document.querySelector('#parallel canvas') || {toDataURL() {}}).toDataURL()")
    return picture


def point_of(page: Any, plot: str) -> tuple[float, float]:
    """Where a point of a plot's last trace is in the window, in pixels."""
    x, y = page.evaluate(
        """(id) => {
            const plot = document.getElementById(id), full = plot._fullLayout;
            const trace = plot.data[plot.data.length - 1], middle = Math.floor(trace.x.length / 2);
            const box = plot.getBoundingClientRect();
            return [box.left + full.xaxis._offset + full.xaxis.d2p(trace.x[middle]),
                    box.top + full.yaxis._offset + full.yaxis.d2p(trace.y[middle])];
        }""",
        plot,
    )
    return x, y
