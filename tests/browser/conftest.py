"""A headless Chromium of the system; tests are skipped, with the reason, where there is none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import until
from reports import make_comparison, make_store, memory_page, serving_page

import simexplore
from simexplore.sim.explain.whole import explain
from simexplore.sim.report.answers.explained import explained_html
from simexplore.sim.report.comparison import comparison_html
from simexplore.sim.report.sweep import sweep_html

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ("--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update")
MADE = "2026-01-02 03:04 UTC"
POINTS = 600

Open = Callable[..., Any]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no Chromium on the PATH: looked for {', '.join(BROWSERS)}")
    # Chromium refuses its sandbox to root, as in most containers.
    root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=[*FLAGS, *root])
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The file of each report by name."""
    folder = tmp_path_factory.mktemp("pages")
    with make_store(folder / "sweep", POINTS) as store:
        sweep = sweep_html(store, MADE)
    found = make_comparison(folder, interval=True)
    comparison = comparison_html(found, simexplore.load_arch("nvidia/h200-sxm"), MADE)
    graph = simexplore.load_workload("llm/llama-3-8b/decode", {"layers": 2})
    explained = explained_html([explain(graph, simexplore.load_arch("nvidia/h200-sxm"))], MADE)
    made = {"sweep": sweep, "comparison": comparison, "explanation": explained}
    made |= {"memory": memory_page(MADE), "serving": serving_page(MADE)}
    for name, html in made.items():
        (folder / f"{name}.html").write_text(html, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in made}


class Windows:
    """Windows of the browser, and what their pages complain of or ask of the network."""

    def __init__(self, browser: Any) -> None:
        self._browser = browser
        self._contexts: list[Any] = []
        self.faults: list[str] = []

    def open(self, file: Path, width: int = 1400, scheme: str = "light") -> Any:
        """A file in a new window."""
        context = self._browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self._contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: self.faults.append(message.text))
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("dialog", lambda dialog: self.faults.append(dialog.message))
        page.on("request", lambda request: self._note(request.url))
        page.goto(file.as_uri())
        return page

    def close(self) -> None:
        """Close them all."""
        for context in self._contexts:
            context.close()

    def _note(self, url: str) -> None:
        if not url.startswith(("file:", "data:", "blob:")):
            self.faults.append(url)


@pytest.fixture
def opened(browser: Any) -> Iterator[Open]:
    """Opens a file in a window of a size; in the end nothing was complained of, and nothing asked of the network."""
    windows = Windows(browser)
    yield windows.open
    windows.close()
    assert windows.faults == []


@pytest.fixture(scope="session")
def shared_windows(browser: Any) -> Iterator[Windows]:
    windows = Windows(browser)
    yield windows
    windows.close()


@pytest.fixture(scope="session")
def by_name() -> dict[str, Any]:
    """The pages that tests share."""
    return {}


@pytest.fixture
def kept(shared_windows: Windows, by_name: dict[str, Any], pages: dict[str, Path]) -> Iterator[Open]:
    """Gives the one window of a report that tests share, nothing filtered: loading takes longer than using."""

    def page_of(name: str) -> Any:
        if name not in by_name:
            by_name[name] = shared_windows.open(pages[name])
        page = by_name[name]
        page.mouse.move(0, 0)
        page.get_by_label("Filter").fill("")
        if name == "sweep":
            page.evaluate("document.getElementById('parallel-clear').click()")
            until(page, "sweep.chosenRows().length === sweep.count")
        return page

    yield page_of
    assert shared_windows.faults == []
