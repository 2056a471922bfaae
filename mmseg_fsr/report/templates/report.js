"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const SVG = "http://www.w3.org/2000/svg";

  /** An element with attributes and children; text is never parsed as markup. */
  function make(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }

  function draw(tag, attributes = {}, text = "") {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.textContent = text;
    return node;
  }

  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
  const byId = (id) => document.getElementById(id);

  // ---- Curves

  function shown(value) {
    if (value === null || value === undefined) return "–";
    if (value !== 0 && Math.abs(value) < 0.001) return value.toExponential(1);
    return Math.abs(value) >= 10 ? value.toFixed(1) : value.toPrecision(3);
  }

  /** A name that may be broken after its underscores. */
  function breakable(name) {
    return name.split(/(?<=_)/).flatMap((part) => [part, make("wbr")]);
  }

  /** Round numbers that span a range, about `count` of them. */
  function linearTicks(low, high, count) {
    const rough = (high - low) / count || 1;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough * 0.999);
    const ticks = [];
    // A curve a hair beyond a tick, such as a tiny negative loss, gets no room of its own.
    for (let i = Math.floor(low / step + 0.02); i <= Math.ceil(high / step - 0.02); i++) {
      ticks.push(Number((i * step).toPrecision(12)));
    }
    return ticks;
  }

  function logTicks(low, high) {
    const ticks = [];
    for (let p = Math.floor(Math.log10(low)); p <= Math.ceil(Math.log10(high)); p++) ticks.push(10 ** p);
    return ticks;
  }

  /** Mean over a window around each point; null stays a gap. */
  function smoothed(points) {
    const reach = Math.max(1, Math.round(points.length / 30));
    return points.map(([step, value], i) => {
      if (value === null) return [step, null];
      const near = points.slice(Math.max(0, i - reach), i + reach + 1).filter((p) => p[1] !== null);
      return [step, near.reduce((sum, p) => sum + p[1], 0) / near.length];
    });
  }

  function chart(root, spec) {
    const plot = root.querySelector(".plot");
    const legend = root.querySelector(".legend");
    const smooth = root.querySelector(".smooth");
    const log = root.querySelector(".log");
    if (!plot) return;
    const steps = [...new Set(spec.series.flatMap((s) => s.points.map((p) => p[0])))].sort((a, b) => a - b);
    const state = { hidden: new Set(spec.series.filter((s) => s.hidden)), cursor: null };
    smooth.checked = steps.length > 60;
    legend.classList.toggle("long", spec.series.some((series) => series.name.length > 18));

    const entries = spec.series.map((series) => {
      const sample = draw("svg", { width: 22, height: 10, "aria-hidden": "true" });
      sample.append(draw("line", { x1: 1, x2: 21, y1: 5, y2: 5, style: `stroke:var(--c${series.color})`, "stroke-width": 2.5, "stroke-dasharray": series.dashed ? "5 3" : "none" }));
      const value = make("span", { class: "value" });
      const button = make("button", { type: "button" }, sample, make("span", { class: "label" }, ...breakable(series.name)), value);
      button.addEventListener("click", () => {
        if (!state.hidden.delete(series)) state.hidden.add(series);
        render();
      });
      legend.append(button);
      return { series, button, value };
    });

    plot.tabIndex = 0;
    plot.setAttribute("role", "slider");
    plot.setAttribute("aria-label", `${spec.title}: step to read values at`);
    plot.setAttribute("aria-valuemin", 0);
    plot.setAttribute("aria-valuemax", steps.length - 1);

    const at = (series, step) => series.points.find((p) => p[0] === step);
    let place = null;

    function readout() {
      const texts = [];
      for (const { series, button, value } of entries) {
        const point = state.cursor === null ? series.points.at(-1) : at(series, steps[state.cursor]);
        value.textContent = shown(point && point[1]);
        const on = !state.hidden.has(series);
        button.setAttribute("aria-pressed", on);
        if (on && point) texts.push(`${series.name} ${shown(point[1])}`);
      }
      const index = state.cursor === null ? steps.length - 1 : state.cursor;
      plot.setAttribute("aria-valuenow", index);
      plot.setAttribute("aria-valuetext", `Step ${steps[index]}: ${texts.join(", ")}`);
    }

    function render() {
      const width = plot.clientWidth;
      if (!width) return;
      const height = clamp(Math.round(width * 0.36), 210, 340);
      const margin = { left: 40, right: 22, top: 22, bottom: 24 };
      const isLog = Boolean(log && log.checked);
      const visible = spec.series.filter((s) => !state.hidden.has(s));
      const keep = (p) => p[1] !== null && (!isLog || p[1] > 0);
      const values = visible.flatMap((s) => s.points.filter(keep).map((p) => p[1]));
      let low = values.length ? Math.min(...values) : isLog ? 0.1 : 0;
      let high = values.length ? Math.max(...values) : 1;
      // A loss's distance from 0 says something; a score's from 0 wastes the plot.
      if (!isLog && spec.fromZero) low = Math.min(0, low);
      if (low === high) high = low + (isLog ? low : 1);
      const ticks = isLog ? logTicks(low, high) : linearTicks(low, high, 5);
      const scale = isLog ? Math.log10 : (v) => v;
      const bottom = scale(ticks[0]);
      const top = scale(ticks.at(-1));
      const first = steps[0];
      const last = steps.at(-1);
      const x = (step) => margin.left + ((step - first) / (last - first || 1)) * (width - margin.left - margin.right);
      const y = (value) => height - margin.bottom - ((scale(value) - bottom) / (top - bottom)) * (height - margin.top - margin.bottom);
      const path = (points) => {
        let pen = "M";
        return points.map((p) => {
          if (!keep(p)) { pen = "M"; return ""; }
          const part = `${pen}${x(p[0]).toFixed(1)} ${y(p[1]).toFixed(1)}`;
          pen = "L";
          return part;
        }).join("");
      };

      const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, height, "aria-hidden": "true" });
      for (const tick of ticks) {
        svg.append(draw("line", { class: "grid", x1: margin.left, x2: width - margin.right, y1: y(tick), y2: y(tick) }));
        svg.append(draw("text", { x: margin.left - 8, y: y(tick) + 4, "text-anchor": "end" }, isLog && Math.abs(Math.log10(tick)) > 3 ? tick.toExponential(0) : String(tick)));
      }
      for (const tick of linearTicks(first, last, clamp(Math.floor(width / 110), 3, 8))) {
        if (tick < first || tick > last) continue;
        svg.append(draw("text", { x: x(tick), y: height - 6, "text-anchor": "middle" }, tick.toLocaleString("en")));
      }
      for (const series of visible) {
        const look = { style: `stroke:var(--c${series.color})`, "stroke-dasharray": series.dashed ? "6 4" : "none" };
        if (smooth.checked) {
          svg.append(draw("path", { ...look, class: "curve raw", d: path(series.points) }));
          svg.append(draw("path", { ...look, class: "curve", d: path(smoothed(series.points)) }));
        } else {
          svg.append(draw("path", { ...look, class: "curve", d: path(series.points) }));
        }
        if (steps.length < 25) {
          for (const p of series.points.filter(keep)) svg.append(draw("circle", { cx: x(p[0]), cy: y(p[1]), r: 2.6, style: `fill:var(--c${series.color})` }));
        }
      }
      if (state.cursor !== null) {
        const step = steps[state.cursor];
        svg.append(draw("line", { class: "cursor", x1: x(step), x2: x(step), y1: margin.top, y2: height - margin.bottom }));
        for (const series of visible) {
          const p = at(series, step);
          if (p && keep(p)) svg.append(draw("circle", { cx: x(step), cy: y(p[1]), r: 4, style: `fill:var(--c${series.color});stroke:var(--card);stroke-width:1.5` }));
        }
        svg.append(draw("text", { class: "cursor-text", x: clamp(x(step), 46, width - 46), y: 12, "text-anchor": "middle" }, `Step ${step.toLocaleString("en")}`));
      }
      plot.replaceChildren(svg);
      place = (pixel) => {
        const share = (pixel - margin.left) / (width - margin.left - margin.right);
        const wanted = first + share * (last - first);
        return steps.reduce((best, step, i) => (Math.abs(step - wanted) < Math.abs(steps[best] - wanted) ? i : best), 0);
      };
      readout();
    }

    function move(cursor) {
      if (cursor === state.cursor) return;
      state.cursor = cursor;
      render();
    }
    const follow = (event) => move(place(event.clientX - plot.getBoundingClientRect().left));
    plot.addEventListener("pointerdown", follow);
    plot.addEventListener("pointermove", follow);
    // A finger that is lifted leaves its values to be read.
    plot.addEventListener("pointerleave", (event) => { if (event.pointerType !== "touch") move(null); });
    plot.addEventListener("blur", () => move(null));
    plot.addEventListener("keydown", (event) => {
      const now = state.cursor === null ? steps.length - 1 : state.cursor;
      const to = { ArrowLeft: now - 1, ArrowDown: now - 1, ArrowRight: now + 1, ArrowUp: now + 1, PageDown: now - 10, PageUp: now + 10, Home: 0, End: steps.length - 1, Escape: null }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      move(to === null ? null : clamp(to, 0, steps.length - 1));
    });
    smooth.addEventListener("change", render);
    if (log) log.addEventListener("change", render);
    new ResizeObserver(render).observe(plot);
    render();
  }

  for (const root of document.querySelectorAll("[data-chart]")) chart(root, data.charts[root.dataset.chart]);

  // ---- Table: a click on a column's title sorts by it

  for (const table of document.querySelectorAll("table.classes")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      head.firstElementChild.addEventListener("click", () => {
        const ascending = head.ariaSort ? head.ariaSort === "descending" : column === 0;
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
        const value = (row) => Number(row.cells[column].dataset.value) * (ascending ? 1 : -1);
        const body = table.tBodies[0];
        body.append(...[...body.rows].sort((a, b) => value(a) - value(b)));
      });
    });
  }

  // ---- Images

  const { images, classes, layers, scoreColumns } = data.gallery;
  const PAGE = 12;
  const titles = Object.fromEntries(layers.map((layer) => [layer.key, layer.title]));
  const view = { left: data.gallery.left, right: data.gallery.right, filter: null, count: PAGE };
  const live = new Set(); // redraws of the stages in the page

  const percent = (value) => (value === null || value === undefined ? "–" : (100 * value).toFixed(1));

  /** One image with two layers and a handle between them. */
  function stage(image) {
    const sides = ["left", "right"].map((name) => {
      const photo = make("img", { class: "photo", alt: "", draggable: "false", src: image.photo });
      const overlay = make("img", { class: "overlay", alt: "", draggable: "false" });
      return { name, overlay, node: make("div", { class: `side ${name}` }, photo, overlay), tag: make("span", { class: `tag of-${name}`, "aria-hidden": "true" }) };
    });
    const range = make("input", { type: "range", min: 0, max: 100, value: 50, step: 1 });
    const knob = make("span", { class: "knob", "aria-hidden": "true" }, "⇹");
    const node = make("div", { class: "stage", style: `aspect-ratio:${image.width}/${image.height}` },
      sides[0].node, sides[1].node, make("span", { class: "line" }), knob, sides[0].tag, sides[1].tag, range);

    function cut() {
      const value = Number(range.value);
      node.style.setProperty("--cut", `${value}%`);
      sides[0].tag.classList.toggle("hidden", value < 25);
      sides[1].tag.classList.toggle("hidden", value > 75);
      range.setAttribute("aria-valuetext", `${value} % ${titles[view.left]}, ${100 - value} % ${titles[view.right]}`);
    }
    function redraw() {
      for (const { name, overlay, node: side, tag } of sides) {
        const key = view[name];
        const source = image.layers[key];
        side.classList.toggle("tinted", Boolean(source));
        overlay.hidden = !source;
        overlay.classList.toggle("map", key !== "cams");
        if (source) overlay.src = source;
        tag.textContent = titles[key];
      }
      range.setAttribute("aria-label", `${image.name}: ${titles[view.left]} left of the handle, ${titles[view.right]} right of it`);
      cut();
    }
    function drag(event) {
      const box = node.getBoundingClientRect();
      range.value = Math.round(clamp((event.clientX - box.left) / box.width, 0, 1) * 100);
      cut();
    }
    // A finger that goes up or down scrolls the page: it moves the handle only once it
    // goes sideways, or with a tap.
    let start = null;
    node.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      node.setPointerCapture(event.pointerId);
      range.focus({ preventScroll: true });
      start = { x: event.clientX, y: event.clientY, drags: event.pointerType !== "touch" };
      if (start.drags) drag(event);
    });
    node.addEventListener("pointermove", (event) => {
      if (!start) return;
      start.drags ||= Math.abs(event.clientX - start.x) > Math.abs(event.clientY - start.y);
      if (start.drags) drag(event);
    });
    node.addEventListener("pointerup", (event) => {
      if (start && (start.drags || Math.hypot(event.clientX - start.x, event.clientY - start.y) < 10)) drag(event);
      start = null;
    });
    node.addEventListener("pointercancel", () => { start = null; });
    range.addEventListener("input", cut);
    redraw();
    return { node, redraw };
  }

  const swatch = (id) => make("i", { class: "swatch", style: `background:${classes[id].color}` });

  /** Whether a class's label and the classifier's score say the same; null if nobody labelled it. */
  const agrees = ({ own, score }) => (own === null ? null : own === score >= 0.5);

  /** A class with the classifier's score, and a question mark where its label says otherwise. */
  const labelMark = (found) => make("span", { class: agrees(found) === false ? "doubt" : "" }, swatch(found.id),
    `${classes[found.id].name} ${found.score.toFixed(2)}${agrees(found) === false ? (found.own ? " ?" : " ? no label") : ""}`);

  function card(image, index) {
    const picture = stage(image);
    live.add(picture.redraw);
    const marks = make("div", { class: "marks" }, ...(image.labels ? image.labels.map(labelMark) : image.classes.filter(({ id }) => !classes[id].background).map(({ id, iou }) =>
      make("span", {}, swatch(id), iou.prediction === undefined ? classes[id].name : `${classes[id].name} ${percent(iou.prediction)}`))));
    const open = make("button", { type: "button", class: "open", "aria-label": `Enlarge ${image.name}` }, "Enlarge");
    open.addEventListener("click", () => show(index));
    const head = make("div", { class: "caption-head" }, make("h3", {}, image.name));
    if (image.iou.prediction !== undefined) head.append(make("span", { class: "score" }, make("small", {}, "IoU "), percent(image.iou.prediction)));
    if (image.labels) head.append(make("span", { class: "score" }, make("small", {}, "Disagreement "), image.disagreement.toFixed(2)));
    const node = make("article", { class: "card", "data-iou": image.iou.prediction ?? "" }, picture.node,
      make("div", { class: "caption" }, head, make("div", { class: "caption-foot" }, marks, open)));
    return node;
  }

  let chosen = images;
  function list() {
    chosen = view.filter === null ? images : images.filter((image) => image.classes.some((c) => c.id === view.filter));
    live.clear();
    const part = chosen.slice(0, view.count);
    byId("cards").replaceChildren(...part.map(card));
    byId("count").textContent = `${part.length} of ${chosen.length} images${view.filter === null ? "" : ` with ${classes[view.filter].name}`}`;
    byId("more").hidden = part.length === chosen.length;
  }

  function update() {
    for (const select of picks) select.value = view[select.dataset.side];
    for (const redraw of live) redraw();
    if (enlarged) enlarged.redraw();
  }

  // The larger view

  let enlarged = null;
  let current = 0;
  function show(index) {
    current = index;
    const image = chosen[index];
    enlarged = stage(image);
    // As wide as it may be, as high as leaves the buttons in sight.
    enlarged.node.style.width = `min(100%, calc(58dvh * ${image.width / image.height}))`;
    byId("viewer-stage").replaceChildren(enlarged.node);
    byId("viewer-title").textContent = image.name;
    byId("place").textContent = `${index + 1} of ${chosen.length}`;
    byId("previous").disabled = index === 0;
    byId("next").disabled = index === chosen.length - 1;
    byId("viewer-scores").replaceChildren(...scores(image));
    if (!byId("viewer").open) byId("viewer").showModal();
  }

  function scores(image) {
    if (image.labels) return [labelScores(image)];
    const columns = scoreColumns.filter(({ key }) => key in image.iou);
    if (!columns.length) return [];
    const row = (tag, first, cells) => make("tr", {}, make("th", { scope: "row" }, ...first), ...cells.map((text) => make(tag, tag === "th" ? { scope: "col" } : {}, text)));
    const head = row("th", ["IoU"], columns.map((c) => c.title));
    head.firstChild.setAttribute("scope", "col");
    const body = image.classes.map((c) => row("td", [make("span", { class: "name" }, swatch(c.id), classes[c.id].name)], columns.map((k) => percent(c.iou[k.key]))));
    const mean = row("td", ["Mean"], columns.map((k) => percent(image.iou[k.key])));
    return [make("table", {}, make("thead", {}, head), make("tbody", {}, ...body), make("tfoot", {}, mean))];
  }

  function labelScores(image) {
    const said = ({ own }) => (own === null ? "unknown" : own ? "yes" : "no");
    const head = make("tr", {}, ...["Class", "Label", "Score"].map((title) => make("th", { scope: "col" }, title)));
    const body = image.labels.map((found) => make("tr", {}, make("th", { scope: "row" }, make("span", { class: "name" }, swatch(found.id), classes[found.id].name)),
      make("td", {}, said(found)), make("td", {}, found.score.toFixed(2))));
    return make("table", {}, make("thead", {}, head), make("tbody", {}, ...body));
  }

  byId("close").addEventListener("click", () => byId("viewer").close());
  byId("viewer").addEventListener("close", () => { enlarged = null; byId("viewer-stage").replaceChildren(); });
  byId("viewer").addEventListener("click", (event) => { if (event.target === byId("viewer")) byId("viewer").close(); });
  byId("previous").addEventListener("click", () => show(current - 1));
  byId("next").addEventListener("click", () => show(current + 1));

  // The tools above the images

  const picks = document.querySelectorAll("select[data-side]");
  for (const select of picks) {
    select.append(...layers.map((layer) => make("option", { value: layer.key }, layer.title)));
    select.addEventListener("change", () => { view[select.dataset.side] = select.value; update(); });
  }
  for (const button of document.querySelectorAll(".swap")) {
    button.addEventListener("click", () => { [view.left, view.right] = [view.right, view.left]; update(); });
  }
  byId("strength").addEventListener("input", (event) => document.documentElement.style.setProperty("--strength", event.target.value / 100));
  byId("more").addEventListener("click", () => {
    const before = view.count;
    view.count += 2 * PAGE;
    list();
    byId("cards").children[before].querySelector("input").focus({ preventScroll: true });
  });

  const chips = [[null, "All", images.length], ...classes.map((c, id) => [id, c.name, images.filter((image) => image.classes.some((k) => k.id === id)).length])]
    .filter(([id, , count]) => id === null || (count && !classes[id].background))
    .map(([id, name, count]) => {
      const chip = make("button", { type: "button", "aria-pressed": id === null }, ...(id === null ? [] : [swatch(id)]), name, make("span", { class: "number" }, String(count)));
      chip.addEventListener("click", () => {
        view.filter = id;
        view.count = PAGE;
        for (const other of chips) other.setAttribute("aria-pressed", other === chip);
        list();
      });
      return chip;
    });
  byId("filter").append(...chips);
  update();
  list();

  for (const button of document.querySelectorAll(".copy")) {
    button.addEventListener("click", async () => {
      const text = button.nextElementSibling.textContent;
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = "Copied";
      } catch {
        // A page opened from a file may not have the clipboard: select for Ctrl+C.
        getSelection().selectAllChildren(button.nextElementSibling);
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }
})();
