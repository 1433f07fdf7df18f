"use strict";
// Charts of a report. uPlot draws axes, lines and areas, and handles zooming by the mouse; bars of tasks,
// fingers and keys are ours. window.wrenlaReport is for tests.
(async () => {
  const page = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const length = Math.max(page.seconds, 1e-6);
  const charts = [];
  const font = "12px system-ui, sans-serif";

  // Columns of numbers, each 4 bytes, one behind the other, compressed by zlib, in base 64.
  async function unpacked(packed) {
    const text = atob(packed.bytes), bytes = new Uint8Array(text.length);
    for (let n = 0; n < text.length; n++) bytes[n] = text.charCodeAt(n);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const buffer = await new Response(stream).arrayBuffer();
    const kinds = { f: Float32Array, i: Int32Array };
    return Object.fromEntries(packed.columns.map(([name, kind], n) =>
      [name, new kinds[kind](buffer, 4 * n * packed.rows, packed.rows)]));
  }

  function seconds(s, step) {
    const size = Math.abs(step ?? s);
    const digits = (unit) => Math.max(0, Math.min(2, 1 - Math.floor(Math.log10(Math.max(size / unit, 1e-9)))));
    if (s === 0) return "0";
    if (Math.abs(s) >= 600) {
      const whole = Math.round(s), h = Math.floor(whole / 3600), m = Math.floor(whole / 60) % 60;
      return h ? `${h}h ${String(m).padStart(2, "0")}m` : `${m}m ${String(whole % 60).padStart(2, "0")}s`;
    }
    if (Math.abs(s) >= 1) return `${s.toFixed(digits(1))} s`;
    if (Math.abs(s) >= 1e-3) return `${(s * 1e3).toFixed(digits(1e-3))} ms`;
    return `${(s * 1e6).toFixed(0)} µs`;
  }

  function scaled(n, unit, base = 1000) {
    const steps = base === 1024 ? ["", "Ki", "Mi", "Gi", "Ti", "Pi"] : ["", "k", "M", "G", "T", "P"];
    let k = 0;
    for (; Math.abs(n) >= base && k < 5; k++) n /= base;
    return `${n >= 100 || k === 0 && Number.isInteger(n) ? n.toFixed(0) : n.toPrecision(3)} ${steps[k]}${unit}`;
  }

  // all charts over time show the same part of it
  let view = [0, length], moving = false;
  function show(from, to) {
    const span = Math.min(length, Math.max(to - from, length * 1e-6, 1e-6));
    from = Math.max(0, Math.min(from, length - span));
    view = [from, from + span];
    moving = true;
    for (const chart of charts) if (chart.overTime) chart.plot.setScale("x", { min: view[0], max: view[1] });
    moving = false;
  }
  const zoom = (factor, around = (view[0] + view[1]) / 2) =>
    show(around - (around - view[0]) * factor, around + (view[1] - around) * factor);
  const pan = (part) => show(view[0] + part * (view[1] - view[0]), view[1] + part * (view[1] - view[0]));

  const axis = (more) => ({
    stroke: () => color("muted"), font, grid: { stroke: () => color("line"), width: 1 },
    ticks: { stroke: () => color("line"), width: 1, size: 4 }, gap: 4, ...more,
  });
  // as wide on the left as the names of workers, so that times stand below each other
  const narrow = () => at("timeline").clientWidth < 520;
  const left = () => narrow() ? 46 : Math.max(56, 14 + 6.6 * Math.max(...page.lanes.map((name) => name.length)));
  const timeAxis = () => axis({
    space: 70, size: 30, values: (u, splits) => splits.map((s) => seconds(s, splits.length > 1 ? splits[1] - splits[0] : s)),
  });
  const timeScale = { time: false, range: (u, from, to) => [Math.max(0, from ?? 0), Math.min(length, to ?? length)] };

  function chart(id, height, options, data, overTime = true) {
    const place = at(id);
    const hooks = options.hooks ?? {};
    if (overTime) {
      hooks.setScale = [(u, key) => {
        if (key === "x" && !moving) show(u.scales.x.min, u.scales.x.max);
      }];
    }
    const width = () => Math.max(260, Math.floor(place.clientWidth));
    const plot = new uPlot({
      width: width(), height, legend: { show: false }, padding: [8, 26, 0, 0], ...options, hooks,
      cursor: { drag: { x: overTime, y: false }, points: { show: false }, ...options.cursor },
    }, data, place);
    const made = { plot, overTime, width, height };
    charts.push(made);
    if (overTime) touch(plot);
    return plot;
  }

  // One finger along the time axis moves it, two zoom, and the wheel with Ctrl does; across it the page scrolls.
  function touch(plot) {
    const fingers = new Map();
    const x = (event) => plot.posToVal(event.clientX - plot.over.getBoundingClientRect().left, "x");
    const over = plot.over;
    over.style.touchAction = "pan-y";
    over.addEventListener("wheel", (event) => {
      if (event.ctrlKey || event.metaKey) {
        event.preventDefault();
        zoom(Math.exp(Math.max(-1, Math.min(1, event.deltaY / 200))), x(event));
      } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
        event.preventDefault();
        pan((event.deltaX || event.deltaY) / 800);
      }
    }, { passive: false });
    over.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "touch") fingers.set(event.pointerId, event.clientX);
    });
    over.addEventListener("pointermove", (event) => {
      const before = fingers.get(event.pointerId);
      if (before === undefined) return;
      const width = over.clientWidth;
      if (fingers.size === 1) pan((before - event.clientX) / width);
      else {
        const other = [...fingers].find(([id]) => id !== event.pointerId)[1];
        const factor = Math.max(20, Math.abs(before - other)) / Math.max(20, Math.abs(event.clientX - other));
        zoom(factor, plot.posToVal((event.clientX + other) / 2 - over.getBoundingClientRect().left, "x"));
      }
      fingers.set(event.pointerId, event.clientX);
    });
    for (const end of ["pointerup", "pointercancel", "pointerleave"])
      over.addEventListener(end, (event) => fingers.delete(event.pointerId));
  }

  // ---------------------------------------------------------------------------------------------- timeline
  const CRITICAL = 1, WAITED = 4, WAITS = 8; // the gap before a bar, and the one behind the last bar of a run
  async function timeline() {
    const bars = await unpacked(page.bars);
    const { start, read, make, compute, write, lane, flags, run } = bars;
    const count = start.length, lanes = page.lanes.length, rows = lanes + (page.faults.length ? 1 : 0);
    const end = new Float32Array(count);
    const first = new Int32Array(lanes + 1).fill(count);
    for (let n = count - 1; n >= 0; n--) {
      end[n] = start[n] + read[n] + make[n] + compute[n] + write[n];
      first[lane[n]] = n;
    }
    for (let k = lanes - 1; k >= 0; k--) first[k] = Math.min(first[k], first[k + 1]);
    let chosen = -1, drawn = 0;
    const height = Math.round(Math.min(620, Math.max(120, 46 + rows * (rows > 24 ? 14 : 26))));

    function firstIn(k, from) { // the first bar of a lane that ends after a moment
      let low = first[k], high = first[k + 1];
      while (low < high) {
        const middle = (low + high) >> 1;
        if (end[middle] > from) high = middle; else low = middle + 1;
      }
      return low;
    }

    function paint(u) {
      const { ctx, bbox } = u, { min: from, max: to } = u.scales.x, { min: top, max: bottom } = u.scales.y;
      const names = ["computing", "making", "reading", "writing", "handing-over", "waiting", "critical", "failures", "text", "card"];
      const [computing, making, reading, writing, idle, waiting, critical, failed, text, card] = names.map(color);
      const x = (s) => bbox.left + (s - from) / (to - from) * bbox.width;
      const h = bbox.height / (bottom - top), thick = h > 5 ? h * 0.76 : h, pixel = devicePixelRatio || 1;
      const box = (fill, a, b, y, high) => { ctx.fillStyle = fill; ctx.fillRect(a, y, Math.max(b - a, 0.6 * pixel), high); };
      ctx.save();
      ctx.beginPath();
      ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
      ctx.clip();
      drawn = 0;
      const marked = [];
      for (let k = Math.max(0, Math.floor(top)); k < Math.min(lanes, Math.ceil(bottom)); k++) {
        const y = bbox.top + (k - top) * h + (h - thick) / 2;
        let done = -1;
        const gap = (a, b) => { if (b - a > pixel / 2) box(waiting, a, b, y + thick * 0.35, thick * 0.3); };
        for (const [a, b] of page.runs) box(idle, x(a), x(b), y + thick * 0.35, thick * 0.3);
        // one more on each side: the gaps beside them may be in sight
        let n = Math.max(first[k], firstIn(k, from) - 1);
        for (; n < first[k + 1] && (n === first[k] || start[n - 1] < to); n++) {
          if (end[n] >= from && start[n] <= to) drawn++;
          const a = x(start[n]), b = x(end[n]);
          const [runBegins, runEnds] = page.runs[run[n]];
          if (flags[n] & WAITED) gap(x(n > first[k] && run[n - 1] === run[n] ? end[n - 1] : runBegins), a);
          if (flags[n] & WAITS) gap(b, x(runEnds));
          if (flags[n] & CRITICAL) marked.push([a, b, y]);
          if (b < done + 0.4 * pixel && n !== chosen) continue; // it would not be seen beside the one before
          done = b;
          const got = start[n] + read[n], made = got + make[n];
          const r = x(got), m = x(made), c = x(made + compute[n]);
          if (r - a > 0) box(reading, a, r, y, thick);
          if (m - r > 0) box(making, r, m, y, thick);
          box(computing, m, c, y, thick);
          if (b - c > 0) box(writing, c, b, y, thick);
          if (b - a > 5 * pixel) box(card, b - 0.7 * pixel, b, y, thick);
        }
      }
      for (const [a, b, y] of marked) box(critical, a, b, y + thick - Math.max(thick * 0.2, 1.5), Math.max(thick * 0.2, 1.5));
      if (rows > lanes) {
        const y = bbox.top + (lanes - top) * h + (h - thick) / 2;
        for (const fault of page.faults) {
          box(failed, x(fault.start), x(fault.end), y, thick);
          box(card, x(fault.end) - 0.7 * pixel, x(fault.end), y, thick);
        }
      }
      if (chosen >= 0) {
        ctx.strokeStyle = text;
        ctx.lineWidth = 2 * pixel;
        const a = x(start[chosen]), y = bbox.top + (lane[chosen] - top) * h + (h - thick) / 2;
        ctx.strokeRect(a, y, Math.max(x(end[chosen]) - a, 2), thick);
      }
      ctx.restore();
    }

    function words(n) {
      const name = page.kernels[bars.kernel[n]], many = bars.count[n];
      const part = bars.part[n] ? `, sum of ${bars.part[n]}` : "";
      const lines = [
        many > 1 ? `${many} tasks together, the first: ${name} ${bars.task[n]}`
          : `${name} ${bars.task[n]}, tile (${bars.row[n]}, ${bars.col[n]}${part})`,
        `${page.names[lane[n]]}, wave ${bars.wave[n]}${page.runs.length > 1 ? `, run ${bars.run[n] + 1}` : ""}`,
        `${seconds(start[n], end[n] - start[n])} to ${seconds(end[n], end[n] - start[n])}: ${seconds(end[n] - start[n])}`,
        `reading ${seconds(read[n])}, ${make[n] ? `making tiles ${seconds(make[n])}, ` : ""}computing ${seconds(compute[n])}, writing ${seconds(write[n])}`,
        `${scaled(bars.bytes_read[n], "B", 1024)} read, ${scaled(bars.bytes_written[n], "B", 1024)} written` +
          (bars.flops[n] && compute[n] ? `, ${scaled(bars.flops[n] / compute[n], "FLOP/s")}` : ""),
        `began ${seconds(bars.wait[n])} after its submission`,
      ];
      if (bars.memory[n]) lines.push(`memory of its process ${scaled(bars.memory[n], "B", 1024)}`);
      if (bars.attempts[n] > 1) lines.push(`attempt ${bars.attempts[n]}`);
      if (flags[n] & CRITICAL) lines.push("on the critical path");
      return lines.join("\n");
    }

    const plot = chart("timeline", height, {
      scales: { x: timeScale, y: { dir: -1, range: (u, a, b) => a === null || a === b ? [0, rows] : [Math.max(0, a), Math.min(rows, b)] } },
      axes: [timeAxis(), axis({
        grid: { show: false }, ticks: { show: false },
        splits: (u) => {
          const { min, max } = u.scales.y, step = Math.max(1, Math.ceil((max - min) * 15 / Math.max(60, u.height - 50)));
          const found = [];
          for (let k = Math.floor(min / step) * step; k < max; k += step) if (k + 0.5 >= min && k < rows) found.push(k + 0.5);
          return found;
        },
        values: (u, splits) => splits.map((k) => k > lanes ? "failed" : narrow() ? `${Math.floor(k) + 1}` : page.lanes[Math.floor(k)]),
        size: left,
      })],
      series: [{}, { scale: "y", show: true, stroke: "transparent", points: { show: false } }],
      cursor: { drag: { x: true, y: rows > 30, uni: 40 } },
      hooks: { draw: [paint], setCursor: [(u) => hover(u)] },
    }, [[0, length], [0, rows]]);

    const tip = at("tip"), live = at("live");
    function choose(n, say) {
      if (n === chosen) return;
      chosen = n;
      plot.redraw(false);
      tip.hidden = n < 0;
      if (n < 0) return;
      tip.textContent = words(n);
      if (say) live.textContent = tip.textContent;
      const over = plot.over, room = over.parentElement.parentElement.parentElement.parentElement;
      const left = over.offsetLeft + at("timeline").offsetLeft + plot.valToPos(Math.max(view[0], start[n]), "x");
      const top = over.offsetTop + at("timeline").offsetTop + plot.valToPos(lane[n] + 1, "y");
      tip.style.left = `${Math.max(0, Math.min(left, room.clientWidth - tip.offsetWidth))}px`;
      tip.style.top = `${top + 6}px`;
    }
    function hover(u) {
      const { left, top } = u.cursor;
      if (left < 0) { if (document.activeElement !== at("timeline")) choose(-1); return; }
      const k = Math.floor(u.posToVal(top, "y")), s = u.posToVal(left, "x"), near = 3 * (view[1] - view[0]) / u.over.clientWidth;
      if (k < 0 || k >= lanes) { choose(-1); return; }
      const n = firstIn(k, s - near);
      choose(n < first[k + 1] && start[n] <= s + near ? n : -1);
    }
    function reveal(n) { // move the shown part so that a bar is in it
      if (start[n] < view[0] || end[n] > view[1]) {
        const span = Math.max(view[1] - view[0], 1.5 * (end[n] - start[n])), middle = (start[n] + end[n]) / 2;
        show(middle - span / 2, middle + span / 2);
      }
      const { min, max } = plot.scales.y;
      if (lane[n] < min || lane[n] + 1 > max) {
        const from = Math.max(0, Math.min(rows - (max - min), lane[n] - (max - min) / 2));
        plot.setScale("y", { min: from, max: from + max - min });
      }
      choose(n, true);
    }
    function reset() {
      show(0, length);
      plot.setScale("y", { min: 0, max: rows });
    }
    function step(by, across) {
      if (!count) return;
      if (chosen < 0) {
        let n = 0;
        while (n < count - 1 && end[n] < view[0]) n++;
        reveal(n);
      } else if (across) {
        for (let k = lane[chosen] + by; k >= 0 && k < lanes; k += by) {
          if (first[k] === first[k + 1]) continue;
          reveal(Math.min(firstIn(k, start[chosen]), first[k + 1] - 1));
          return;
        }
      } else {
        const n = chosen + by;
        if (n >= first[lane[chosen]] && n < first[lane[chosen] + 1]) reveal(n);
      }
    }
    const keys = {
      ArrowRight: () => step(1), ArrowLeft: () => step(-1), ArrowDown: () => step(1, true), ArrowUp: () => step(-1, true),
      "+": () => zoom(0.5, middle()), "=": () => zoom(0.5, middle()), "-": () => zoom(2, middle()), 0: reset, Escape: () => choose(-1),
      Home: () => { choose(-1); if (count) reveal(0); },
    };
    const middle = () => chosen >= 0 ? (start[chosen] + end[chosen]) / 2 : (view[0] + view[1]) / 2;
    at("timeline").addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const act = event.shiftKey && { ArrowRight: () => pan(0.2), ArrowLeft: () => pan(-0.2) }[event.key] || keys[event.key];
      if (act) { event.preventDefault(); act(); }
    });
    at("timeline").addEventListener("blur", () => choose(-1));
    const buttons = { "zoom-in": () => zoom(0.5), "zoom-out": () => zoom(2), earlier: () => pan(-0.4), later: () => pan(0.4), whole: reset };
    for (const [id, act] of Object.entries(buttons)) at(id).addEventListener("click", act);
    for (const button of document.querySelectorAll("button[data-run]")) {
      button.addEventListener("click", () => {
        const run = +button.dataset.run, task = +button.dataset.task;
        let n = 0;
        while (n < count && !(bars.run[n] === run && bars.task[n] <= task && (bars.task[n] === task))) n++;
        if (n === count) return;
        const span = Math.max(8 * (end[n] - start[n]), length / 50), center = (start[n] + end[n]) / 2;
        show(center - span / 2, center + span / 2);
        at("timeline").focus();
        at("timeline").scrollIntoView({ block: "center" });
        reveal(n);
      });
    }
    return { bars, plot, words, drawn: () => drawn, chosen: () => chosen, reset };
  }

  // ------------------------------------------------------------------------------------- charts over time
  const last = (values) => [...values, values[values.length - 1] ?? 0];
  const stepped = () => uPlot.paths.stepped({ align: 1 });
  const series = (name, more) => ({ stroke: () => color(name), width: 1.5, points: { show: false }, paths: stepped(), ...more });
  const told = (id, words) => ({ setCursor: [(u) => { at(id).textContent = u.cursor.idx == null || u.cursor.left < 0 ? "" : words(u.cursor.idx); }] });

  function parallelism() {
    const { edges, computing, making, reading, writing } = page.rates, marks = page.critical;
    const one = computing.map((n, k) => n + making[k]), two = one.map((n, k) => n + reading[k]), all = two.map((n, k) => n + writing[k]);
    const most = Math.max(page.workers, ...all);
    const strip = (u) => {
      const { ctx, bbox } = u, { min, max } = u.scales.x;
      ctx.save();
      ctx.beginPath();
      ctx.rect(bbox.left, 0, bbox.width, bbox.top);
      ctx.clip();
      ctx.fillStyle = color("critical");
      const x = (s) => bbox.left + (s - min) / (max - min) * bbox.width;
      for (const [a, b] of marks) ctx.fillRect(x(a), bbox.top - 8 * devicePixelRatio, Math.max(x(b) - x(a), 1), 5 * devicePixelRatio);
      ctx.restore();
    };
    const area = (name) => series(name, { fill: () => color(name), width: 0 });
    return chart("parallelism", 210, {
      padding: [14, 26, 0, 0],
      scales: { x: timeScale, y: { range: [0, most * 1.05] } },
      axes: [timeAxis(), axis({ size: left })],
      series: [{}, area("writing"), area("reading"), area("making"), area("computing"),
        { stroke: () => color("muted"), dash: [5, 4], width: 1.5, points: { show: false } }],
      hooks: {
        draw: [strip],
        ...told("parallelism-values", (k) => {
          const n = Math.min(k, computing.length - 1);
          return `at ${seconds(edges[n])}: ${computing[n].toFixed(1)} computing, ${making[n].toFixed(1)} making tiles, ${reading[n].toFixed(1)} reading, ` +
            `${writing[n].toFixed(1)} writing, of ${page.workers} workers`;
        }),
      },
    }, [edges, last(all), last(two), last(one), last(computing), edges.map(() => page.workers)]);
  }

  function throughput() {
    const { edges, flops, bytes_read, bytes_written } = page.rates;
    const highest = (...lists) => Math.max(1, ...lists.flat()) * 1.05;
    return chart("throughput", 210, {
      scales: { x: timeScale, f: { range: [0, highest(flops)] }, b: { range: [0, highest(bytes_read, bytes_written)] } },
      axes: [timeAxis(),
        axis({ scale: "f", size: left, values: (u, splits) => splits.map((n) => n ? scaled(n, "") : "0") }),
        axis({ scale: "b", side: 1, size: 62, grid: { show: false }, values: (u, splits) => splits.map((n) => n ? scaled(n, "B", 1024) : "0") })],
      series: [{}, series("computing", { scale: "f", width: 2 }), series("reading", { scale: "b" }), series("writing", { scale: "b" })],
      hooks: told("throughput-values", (k) => {
        const n = Math.min(k, flops.length - 1);
        return `at ${seconds(edges[n])}: ${scaled(flops[n], "FLOP/s")}, ${scaled(bytes_read[n], "B/s", 1024)} read, ` +
          `${scaled(bytes_written[n], "B/s", 1024)} written`;
      }),
    }, [edges, last(flops), last(bytes_read), last(bytes_written)]);
  }

  function histogram() {
    const { edges, counts, names } = page.histogram;
    const places = edges.slice(0, -1).map((_, k) => k);
    const stacked = [], sums = places.map(() => 0);
    for (const column of counts) {
      column.forEach((n, k) => { sums[k] += n; });
      stacked.push([...sums]);
    }
    const bars = uPlot.paths.bars({ size: [0.86, 80], align: 1 });
    return chart("histogram", 220, {
      scales: { x: { time: false, range: [0, places.length] }, y: { range: [0, Math.max(1, ...sums) * 1.05] } },
      axes: [axis({
        space: 60, size: 30, splits: () => { const by = Math.ceil(edges.length / Math.max(2, at("histogram").clientWidth / 75)); return edges.map((_, k) => k).filter((k) => k % by === 0); },
        values: (u, splits) => splits.map((k) => seconds(edges[k])),
      }), axis({ size: 52, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6] })],
      series: [{}, ...names.map((_, k) => ({ fill: () => color(`k${k}`), stroke: () => color(`k${k}`), width: 0, paths: bars, points: { show: false } })).reverse()],
      hooks: told("histogram-values", (k) => {
        const parts = names.map((name, n) => [name, counts[n][k]]).filter(([, n]) => n).map(([name, n]) => `${n} ${name}`);
        return `${seconds(edges[k])} to ${seconds(edges[k + 1])}: ${parts.join(", ") || "no task"}`;
      }),
    }, [places, ...stacked.reverse()], false);
  }

  // ------------------------------------------------------------------------------------ looks and widths
  const redraw = () => { for (const { plot } of charts) plot.redraw(false, true); };
  const paper = matchMedia("print");
  const fit = (most = paper.matches ? 640 : Infinity) => {
    for (const { plot, width, height } of charts) plot.setSize({ width: Math.min(most, width()), height });
  };
  let waits = 0;
  new ResizeObserver(() => { cancelAnimationFrame(waits); waits = requestAnimationFrame(() => fit()); }).observe(document.querySelector("main"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  paper.addEventListener("change", () => { fit(); redraw(); });
  addEventListener("beforeprint", () => { fit(640); redraw(); });
  addEventListener("afterprint", () => { fit(); redraw(); });

  const found = { ready: false, show: (a, b) => show(a, b), view: () => view, charts };
  window.wrenlaReport = found;
  if (page.runs.length && at("parallelism")) {
    found.timeline = await timeline();
    parallelism();
    throughput();
    histogram();
  }
  found.ready = true;
})();
