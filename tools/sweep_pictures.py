"""The pictures of sweeps, verdicts and explanations in docs/img, drawn anew: pages photographed in Chromium.

Usage: python tools/sweep_pictures.py      needs plotly, playwright and a Chromium on the PATH
"""

from __future__ import annotations

import base64
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from simexplore import load_workload
from simexplore.archs.load import machine_of, overridden, resolve
from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.estimate.graphs import estimate_graph
from simexplore.sim.explain.what_if import what_ifs
from simexplore.sim.explain.whole import explain
from simexplore.sim.explore.evaluation import executor
from simexplore.sim.explore.store import Store
from simexplore.sim.explore.study import Sweep
from simexplore.sim.report.answers.explained import explained_html
from simexplore.sim.report.sweep import sweep_html

ROOT = Path(__file__).resolve().parents[1]
PICTURES = {"hopper-memory": "report-sweep.png", "ada-diffusion": "sweep-ada.png", "ngpc": "sweep-ngpc.png"}
WIDTH = 1100
EXPLAINED, MACHINE = "gemm(m=4096,n=4096,k=4096)", "nvidia/h200-sxm"


def report(example: str, folder: Path) -> Path:
    """Run an example and write its page."""
    pool = executor.processes(2)
    try:
        Sweep.from_yaml(ROOT / "examples" / f"{example}.yaml").fill(folder, pool, judge=True)
    finally:
        pool.close()
    page = folder / "report.html"
    with Store.open(folder) as store:
        page.write_text(sweep_html(store, "the date"), encoding="utf-8")
    return page


def wide(browser: Any, page: Path, picture: Path) -> None:
    """The page from its title to behind its scatter plot."""
    window = opened(browser, page, WIDTH, "light")
    box = window.locator("#scatter").bounding_box()
    height = box["y"] + box["height"] + 20
    window.screenshot(path=picture, full_page=True, clip={"x": 0, "y": 0, "width": WIDTH, "height": height})


def verdict(browser: Any, page: Path, picture: Path) -> None:
    """The first screen of a sweep's page: what to build beside today's machine."""
    window = opened(browser, page, WIDTH, "light")
    box = window.locator("main > section").first.bounding_box()
    clip = {"x": 0, "y": 0, "width": WIDTH, "height": box["y"] + box["height"] + 10}
    window.screenshot(path=picture, full_page=True, clip=clip)


def explanation(browser: Any, page: Path, picture: Path) -> None:
    """Why a GEMM takes as long as it does: from the title to what would help."""
    graph, layer = load_workload(EXPLAINED), resolve(MACHINE)
    gpu = machine_of(layer)
    told = explain(graph, gpu)

    def variant(changes: Mapping[str, str]) -> Gpu:
        return machine_of(overridden(layer, changes))

    helps = what_ifs(gpu, told.time_s, variant, lambda machine: estimate_graph(graph, machine).time_s)
    page.write_text(explained_html([told.with_what_ifs(helps)], "the date"), encoding="utf-8")
    window = opened(browser, page, WIDTH, "light", "#what-if")
    box = window.locator("#what-if").bounding_box()
    clip = {"x": 0, "y": 0, "width": WIDTH, "height": box["y"] + box["height"] + 10}
    window.screenshot(path=picture, full_page=True, clip=clip)


def phone(browser: Any, page: Path, picture: Path) -> None:
    """Two screens of a phone in the dark, side by side."""
    window = opened(browser, page, 390, "dark")
    window.set_viewport_size({"width": 390, "height": 844})
    shots = []
    for place in ("trade-off", "bottlenecks"):
        window.evaluate("place => document.getElementById(place).scrollIntoView()", place)
        window.wait_for_timeout(500)
        shots.append(window.screenshot())
    sheet = browser.new_page(viewport={"width": 800, "height": 844})
    images = [f'<img src="data:image/png;base64,{base64.b64encode(shot).decode()}">' for shot in shots]
    sheet.set_content(f'<body style="margin:0;display:flex;gap:20px">{"".join(images)}</body>')
    sheet.screenshot(path=picture)


def opened(browser: Any, page: Path, width: int, scheme: str, figure: str = "#scatter") -> Any:
    """A page in a window that shows all of it."""
    window = browser.new_page(viewport={"width": width, "height": 1600}, color_scheme=scheme)
    window.goto(page.as_uri())
    window.wait_for_selector(f"{figure} .main-svg")
    window.wait_for_timeout(1500)
    return window


def main() -> None:
    """Draw all of them."""
    found = next(path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name)))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        for example, picture in PICTURES.items():
            page = report(example, Path(folder) / example)
            wide(browser, page, ROOT / "docs" / "img" / picture)
            if example == "hopper-memory":
                phone(browser, page, ROOT / "docs" / "img" / "report-phone.png")
                verdict(browser, page, ROOT / "docs" / "img" / "verdict.png")
        explanation(browser, Path(folder) / "explain.html", ROOT / "docs" / "img" / "explain.png")


if __name__ == "__main__":
    main()
