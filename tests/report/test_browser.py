"""A report in Chromium: every task is there, it zooms, by mouse, fingers and keys, on phones and on paper."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from tests.report.records import MadeUp

pytestmark = [pytest.mark.browser, pytest.mark.process]

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

WIDE, NARROW = 1280, 390

LOOKS = [(width, scheme) for width in (WIDE, NARROW) for scheme in ("light", "dark")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@contextmanager
def opened(browser: Any, report: Path, width: int = WIDE, scheme: str = "light", **how: Any) -> Iterator[Any]:
    """Open a page of its own, and see that nothing was complained of or asked for."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, **how)
    page.set_default_timeout(20_000)
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    try:
        page.goto(report.as_uri())
        until(page, "window.wrenlaReport?.ready")
        yield page
        assert said == []
        assert asked == [report.as_uri()]
    finally:
        page.close()


def until(page: Any, condition: str) -> None:
    """Wait until a condition holds. Playwright's own way evaluates text in the page, which that forbids."""
    deadline = time.monotonic() + 20
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(20)


def three_workers() -> MadeUp:
    """Two runs with all that a report can show: faults, stragglers, a critical path, solutions."""
    made = MadeUp().begin(
        workers=3, memory=0, executor="LambdaExecutor(<b>)", plan={"dollars": {"compute": 0.1}}
    )
    made.fault(3, 3.0, 3.4, "TransientStoreError: <script>alert(1)</script>")
    for n in range(18):
        how = {"read": 0.2, "compute": 0.5, "write": 0.2, "tile": (n // 4, n % 4, n % 2)}
        name = ("gemm", "trsm_right", "potrf")[n // 3 % 3]
        took = {"compute": 3.0} if n == 17 else {}
        number = {"attempt": 2} if n == 3 else {}
        made.task(
            n,
            0.1 + n // 3 * 1.2,
            worker=f"p{n % 3}, thread 1",
            kernel=name,
            after=n - 3,
            **how | took | number,
        )
    made.end(10.0, cold_starts=3, dollars=0.12).begin(10.5, workers=3, memory=0)
    for n in range(3):
        made.task(n, 10.6, worker=f"p{n}, thread 1", kernel="copy", compute=0.4)
    return made.end(11.1).solved(11.2, fallbacks=["LU in float32: <i>it stalled</i>"])


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    return wl.write_report(three_workers().write(folder / "run.jsonl"))


@pytest.fixture
def page(browser: Any, report: Path) -> Iterator[Any]:
    with opened(browser, report) as found:
        yield found


def view(page: Any) -> list[float]:
    found: list[float] = page.evaluate("wrenlaReport.view()")
    return found


def chosen(page: Any) -> int:
    found: int = page.evaluate("(t => t.chosen() < 0 ? -1 : t.bars.task[t.chosen()])(wrenlaReport.timeline)")
    return found


def place(page: Any, task: int) -> tuple[float, float]:
    """Return where the middle of a task's bar is on the screen."""
    page.locator("#timeline").scroll_into_view_if_needed()
    x, y = page.evaluate(
        """task => { const t = wrenlaReport.timeline, b = t.bars, n = b.task.indexOf(task), u = t.plot;
        const at = u.over.getBoundingClientRect(), took = b.read[n] + b.compute[n] + b.write[n];
        const x = u.valToPos(b.start[n] + took / 2, "x"), y = u.valToPos(b.lane[n] + 0.5, "y");
        return [at.left + x, at.top + y]; }""",
        task,
    )
    return x, y


def variable(page: Any, name: str) -> str:
    """Return a colour of the page's style."""
    style = "getComputedStyle(document.documentElement)"
    found: str = page.evaluate(f"{style}.getPropertyValue('--{name}').trim()")
    return found


def colors(page: Any, tasks: Iterable[int]) -> list[str]:
    """Return the colours in the middle of the bars of tasks."""
    places = [place(page, task) for task in tasks]
    found: list[str] = page.evaluate(
        """places => {
            const canvas = wrenlaReport.timeline.plot.ctx.canvas, at = canvas.getBoundingClientRect();
            const { width, height } = canvas, k = width / at.width;
            const data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
            return places.map(([x, y]) => {
                const n = 4 * (Math.round((y - at.top) * k) * width + Math.round((x - at.left) * k));
                return "#" + [0, 1, 2].map(c => data[n + c].toString(16).padStart(2, "0")).join("");
            });
        }""",
        places,
    )
    return found


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_accessible_at_every_width_and_in_the_dark(
    browser: Any, report: Path, width: int, scheme: str
) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed"
    )
    with opened(browser, report, width, scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        found = axe.Axe().run(page).response["violations"]
        assert [(rule["id"], [node["target"] for node in rule["nodes"]]) for rule in found] == []
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (min(map(int, background[4:-1].split(","))) > 128) == (scheme == "light")


@pytest.mark.parametrize(
    "made",
    [
        MadeUp(),
        MadeUp().begin(),
        MadeUp().begin().end(1.0, error="KeyboardInterrupt: "),
        MadeUp().begin().task(0, 0.0).end(1.0),
    ],
)
def test_short_records_load(browser: Any, tmp_path: Path, made: MadeUp) -> None:
    with opened(browser, wl.write_report(made.write(tmp_path / "run.jsonl"))) as page:
        assert page.locator("#bound").is_visible()


def test_timeline_shows_every_task(page: Any) -> None:
    bars = page.evaluate("Array.from(wrenlaReport.timeline.bars.task)")
    assert sorted(bars) == sorted([*range(18), *range(3)])
    assert page.evaluate("wrenlaReport.timeline.drawn()") == 21
    assert colors(page, range(18)) == [variable(page, "computing")] * 18


def test_dragging_zooms_all_charts_and_a_double_click_shows_the_whole(page: Any) -> None:
    whole = view(page)
    (x0, y), (x1, _) = place(page, 3), place(page, 12)
    page.mouse.move(x0, y)
    page.mouse.down()
    page.mouse.move((x0 + x1) / 2, y, steps=4)
    page.mouse.move(x1, y, steps=4)
    page.mouse.up()
    low, high = view(page)
    assert whole[0] < low < high < whole[1]
    scales = page.evaluate(
        "wrenlaReport.charts.filter(c => c.overTime).map(c => [c.plot.scales.x.min, c.plot.scales.x.max])"
    )
    assert len(scales) == 3
    for scale in scales:
        assert scale == pytest.approx([low, high])
    assert page.evaluate("wrenlaReport.timeline.drawn()") < 21
    page.mouse.dblclick(x0, y)
    assert view(page) == pytest.approx(whole)


def test_wheel_with_ctrl_zooms_around_the_mouse_and_without_it_the_page_scrolls(page: Any) -> None:
    x, y = place(page, 9)
    page.mouse.move(x, y)
    whole = view(page)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -200)
    page.keyboard.up("Control")
    until(page, f"wrenlaReport.view()[1] < {whole[1] - 1}")
    low, high = view(page)
    assert low < 4.0 < high
    assert place(page, 9)[0] == pytest.approx(x, abs=2)
    before = page.evaluate("scrollY")
    page.mouse.wheel(0, 300)
    until(page, f"scrollY > {before}")
    assert view(page) == [low, high]


def test_fingers_move_and_zoom(page: Any) -> None:
    page.evaluate("wrenlaReport.show(3, 6)")
    touch = """moves => { const over = wrenlaReport.timeline.plot.over, at = over.getBoundingClientRect();
        for (const [kind, pointerId, part] of moves) {
            const [clientX, clientY] = [at.left + part * at.width, at.top + 20];
            over.dispatchEvent(new PointerEvent(kind, { pointerType: "touch", pointerId, clientX, clientY }));
        } }"""
    page.evaluate(touch, [["pointerdown", 1, 0.8], ["pointermove", 1, 0.3], ["pointerup", 1, 0.3]])
    assert view(page) == pytest.approx([4.5, 7.5], abs=0.02)
    moves = [
        ["pointerdown", 1, 0.4],
        ["pointerdown", 2, 0.6],
        ["pointermove", 2, 0.8],
        ["pointermove", 1, 0.2],
    ]
    page.evaluate(touch, moves)
    low, high = view(page)
    assert high - low == pytest.approx(1.0, abs=0.05)


def test_hovering_shows_a_task(page: Any) -> None:
    page.mouse.move(*place(page, 8))
    tip = page.locator("#tip")
    assert tip.is_visible()
    text = tip.inner_text()
    for word in (
        "potrf 8, tile (2, 0)",
        "p2, thread 1",
        "reading 200 ms, computing 500 ms",
        "on the critical path",
    ):
        assert word in text, word
    box = tip.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= WIDE
    page.locator("h1").hover()
    assert tip.is_hidden()


@pytest.mark.parametrize(
    ("chart", "words"), [("parallelism", "computing"), ("throughput", "FLOP/s"), ("histogram", "to")]
)
def test_hovering_shows_values(page: Any, chart: str, words: str) -> None:
    page.locator(f"#{chart}").hover()
    assert words in page.locator(f"#{chart}-values").inner_text()


def test_keys_go_through_the_timeline(page: Any) -> None:
    page.locator("#timeline").focus()
    walked = []
    for key in (
        "ArrowRight",
        "ArrowRight",
        "ArrowDown",
        "ArrowDown",
        "ArrowDown",
        "ArrowUp",
        "ArrowLeft",
        "Home",
    ):
        page.keyboard.press(key)
        walked.append(chosen(page))
    assert walked == [0, 3, 4, 5, 5, 4, 1, 0]
    assert "gemm 0, tile (0, 0)" in page.locator("#live").inner_text()
    whole = view(page)
    page.keyboard.press("+")
    assert view(page)[1] < whole[1]
    before = view(page)
    page.keyboard.press("Shift+ArrowRight")
    assert view(page)[0] > before[0]
    page.keyboard.press("0")
    assert view(page) == pytest.approx(whole)
    page.keyboard.press("Escape")
    assert (chosen(page), page.locator("#tip").is_hidden()) == (-1, True)


def test_keyboard_reaches_everything(page: Any) -> None:
    wanted = page.evaluate(
        """[...document.querySelectorAll("a[href], button, summary, [tabindex='0']")]
        .filter(e => e.checkVisibility()).map((e, n) => { e.dataset.n = n; }).length"""
    )
    seen = set()
    for _ in range(wanted + 2):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.dataset.n"))
    assert len(seen - {None}) == wanted > 20
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert page.get_by_role("region", name="Parallelism in numbers").is_visible()


def test_buttons_zoom_and_move(page: Any) -> None:
    whole = view(page)
    page.get_by_role("button", name="Zoom in").click()
    low, high = view(page)
    assert high - low == pytest.approx((whole[1] - whole[0]) / 2)
    page.get_by_role("button", name="Later").click()
    assert view(page)[0] > low
    page.get_by_role("button", name="Earlier").click()
    assert view(page) == pytest.approx([low, high])
    page.get_by_role("button", name="Zoom out").click()
    page.get_by_role("button", name="Show the whole run").click()
    assert view(page) == pytest.approx(whole)


def test_a_slow_task_is_shown_in_the_timeline(page: Any) -> None:
    page.get_by_role("button", name="Show potrf 17 in the timeline").first.click()
    assert chosen(page) == 17
    assert page.locator("#tip").is_visible()
    assert page.evaluate("document.activeElement.id") == "timeline"


def test_charts_follow_the_width_and_the_colours(browser: Any, report: Path) -> None:
    with opened(browser, report) as page:
        page.set_viewport_size({"width": NARROW, "height": 844})
        until(page, f"wrenlaReport.charts.every(c => c.plot.width < {NARROW})")
        light = variable(page, "computing")
        page.emulate_media(color_scheme="dark")
        until(page, "matchMedia('(prefers-color-scheme: dark)').matches")
        page.set_viewport_size({"width": WIDE, "height": 844})
        until(page, "wrenlaReport.charts.every(c => c.plot.width > 900)")
        dark = variable(page, "computing")
        assert light != dark
        assert colors(page, [5]) == [dark]


def test_paper(browser: Any, report: Path) -> None:
    with opened(browser, report, WIDE, "dark") as page:
        page.emulate_media(media="print")
        until(page, "wrenlaReport.charts.every(c => c.plot.width <= 640)")
        assert page.locator(".toolbar").is_hidden()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert variable(page, "text") == "#1a1f27"
        assert page.pdf(format="A4", print_background=True).startswith(b"%PDF")
        page.emulate_media(media="screen")
        until(page, "wrenlaReport.charts.every(c => c.plot.width > 900)")


def test_a_hundred_thousand_tasks_stay_usable(browser: Any, tmp_path: Path) -> None:
    """A machine that does nothing else loads it in less than a second; here it has ten."""
    rng, starts = np.random.default_rng(0), np.zeros(100)
    made = MadeUp().begin(workers=100, memory=0)
    for n, took in enumerate(rng.exponential(1.0, 100_000).tolist()):
        made.task(n, float(starts[n % 100]), compute=took, worker=f"p{n % 100}, thread 1", after=n - 100)
        starts[n % 100] += took
    big = wl.write_report(made.end(float(starts.max())).write(tmp_path / "run.jsonl"))
    assert big.stat().st_size < 10_000_000
    began = time.monotonic()
    with opened(browser, big) as page:
        assert page.evaluate("wrenlaReport.timeline.drawn()") == 100_000
        page.evaluate("wrenlaReport.show(100, 200)")
        assert page.evaluate("wrenlaReport.timeline.drawn()") < 20_000
        assert time.monotonic() - began < 10


def test_report_of_a_real_run(browser: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    A = wl.from_array(rng.standard_normal((200, 200)), tile=50)
    A.solve(np.ones(200)).compute(report=tmp_path / "report.html")
    with opened(browser, tmp_path / "report.html", NARROW) as page:
        assert page.locator("h1").inner_text() == "Solution of a system of 200 × 200"
        assert page.evaluate("wrenlaReport.timeline.drawn()") == page.evaluate(
            "wrenlaReport.timeline.bars.task.length"
        )
