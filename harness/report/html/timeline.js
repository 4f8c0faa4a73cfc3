// One timeline: what is in view, and what mouse, keys and buttons do with it.

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

const still = matchMedia("(prefers-reduced-motion: reduce)");
const WHOLE = 38;

class Timeline {
  constructor(host, data) {
    this.host = host;
    this.model = new Model(data);
    this.view = new View(this.model);
    this.state = { chosen: [], holds: [], cursor: -1, violation: null };
    this.onChoose = () => {};
    this.build();
    this.colour();
    new ResizeObserver(() => this.resize()).observe(this.board);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.colour(); this.draw();
    });
    this.resize();
  }

  build() {
    const model = this.model;
    const button = (text, title, act) => {
      const made = element("button", { type: "button", textContent: text, title });
      made.addEventListener("click", act);
      return made;
    };
    this.where = element("span", { className: "where" });
    const bar = element("div", { className: "bar" },
      button("+", "Zoom in (+)", () => this.zoom(.5)), button("−", "Zoom out (−)", () => this.zoom(2)),
      button("◂", "Earlier (←)", () => this.pan(-.4)), button("▸", "Later (→)", () => this.pan(.4)),
      button("Whole run", "Show all of it (0)", () => this.show(-this.view.margin, model.end + this.view.margin)));
    if (model.named.size) bar.append(button("Next violation", "Show the next violation (v)", () => this.nextViolation()));
    this.clear = button("Clear", "Show all alike (Esc)", () => this.choose(-1, -1));
    this.clear.hidden = true;
    bar.append(this.clear, this.where);
    this.whole = element("canvas", { className: "whole" });
    this.whole.setAttribute("aria-hidden", "true");
    this.canvas = element("canvas", { tabIndex: 0 });
    this.canvas.setAttribute("role", "application");
    this.canvas.setAttribute("aria-label", `Timeline of ${howMany(model.lanes.length, "worker", "workers")} and ${howMany(model.count, "operation", "operations")}. Left and right move, plus and minus zoom, 0 shows all, n and p go to the next and previous operation of a worker, up and down to another worker, v to the next violation.`);
    this.room = element("div", { className: "room" }, this.canvas);
    this.scroller = element("div", { className: "lanes" }, this.room);
    this.board = element("div", { className: "board" }, this.whole, this.scroller);
    this.detail = element("div", { className: "detail" });
    this.detail.setAttribute("aria-live", "polite");
    this.tip = element("div", { className: "tip", hidden: true });
    this.tip.setAttribute("aria-hidden", "true");
    this.kinds = model.data.kinds.map(([, group, shade]) => {
      const swatch = element("span", { className: "swatch" });
      swatch.dataset.group = group; swatch.dataset.shade = shade;
      return swatch;
    });
    this.legend = element("ul", { className: "legend" });
    const help = element("p", { className: "quiet", textContent: "Drag to move; Ctrl and wheel to zoom (the wheel alone after a click); point at anything to see what it is; click to keep it." });
    // Elements have the colours of kinds; the legend shows copies.
    const colours = element("span", { hidden: true }, ...this.kinds);
    this.host.replaceChildren(bar, this.board, this.detail, this.legend, help, colours);
    document.body.append(this.tip);
    this.listen();
  }

  /** Takes the page's colours, which change with its scheme. */
  colour() {
    this.theme = new Theme(this.kinds);
    this.model.isWait.forEach((wait, kind) => { if (wait) this.theme.kinds[kind] = this.theme.lock(0); });
    this.drawLegend();
  }

  drawLegend() {
    const model = this.model, theme = this.theme;
    const items = model.data.kinds.map(([name], at) => [name, this.kinds[at]]).filter(([name]) => name !== "lock-acquire");
    items.sort(([a], [b]) => a.localeCompare(b));
    const entries = items.map(([name, swatch]) => element("li", {}, swatch.cloneNode(), name));
    const drawn = (name, paint) => {
      const canvas = element("canvas", { width: 52, height: 28 });
      const context = canvas.getContext("2d");
      context.scale(2, 2);
      paint(context);
      entries.push(element("li", {}, canvas, name));
    };
    const some = theme.kinds[0] ?? theme.soft;
    if (model.outcomeSeen === undefined) model.outcomeSeen = new Set(model.outcome);
    if (model.outcomeSeen.has(FAIL)) drawn("failed: did not happen", on => paintFailed(on, some, 2, 1, 22, 12));
    if (model.outcomeSeen.has(INFO)) drawn("unknown: may take effect later", on => paintUnknown(on, some, 0, 1, 5, 12));
    if (model.hasLocks) {
      model.data.locks.slice(0, 6).forEach((name, at) => drawn(model.data.locks.length > 6 && at === 5 ? "other locks" : `${visible(name).slice(0, 40)} waited for, held`, on => {
        paintWait(on, theme, theme.lock(at), 0, 2, 12, 10, OK);
        on.fillStyle = theme.lock(at); on.fillRect(13, 2, 13, 10);
      }));
      if (model.data.holds.some(hold => hold[4] >= 0)) drawn("past its time to live", on => { on.fillStyle = theme.lock(0); on.globalAlpha = .4; on.fillRect(0, 2, 26, 10); });
    }
    if (model.data.faults.some(fault => fault[1] < 0)) drawn("fault", on => { on.fillStyle = theme.fault; on.fillRect(12, 0, 2, 14); on.beginPath(); on.arc(13, 6, 5, 0, 7); on.fill(); });
    if (model.data.faults.some(fault => fault[1] >= 0)) drawn("paused", on => { on.fillStyle = theme.pause; on.globalAlpha = .55; on.fillRect(1, 0, 24, 14); on.globalAlpha = 1; on.fillStyle = theme.fault; on.fillRect(1, 0, 1.5, 14); on.fillRect(23.5, 0, 1.5, 14); });
    if (model.data.sessions.some(session => session[4] >= 0)) drawn("session ends", on => { on.fillStyle = theme.soft; on.fillRect(14, 0, 2, 14); on.fillRect(10, 0, 4, 2); on.fillRect(10, 12, 4, 2); });
    drawn("no session", on => { on.fillStyle = theme.absent; on.fillRect(0, 0, 26, 14); on.strokeStyle = theme.line; on.strokeRect(.5, .5, 25, 13); });
    if (model.named.size) drawn("named by a violation", on => { on.strokeStyle = theme.mark; on.lineWidth = 2; on.strokeRect(3, 2, 20, 10); });
    if (model.data.gaps.length) drawn("left out", on => { on.fillStyle = theme.hatched(on, theme.soft, 8); on.fillRect(0, 0, 26, 14); });
    this.legend.replaceChildren(...entries);
  }

  resize() {
    const { view, model } = this;
    view.width = this.board.clientWidth;
    if (!view.width) return;
    const all = view.all;
    this.room.style.height = `${all}px`;
    view.height = Math.min(all, this.scroller.clientHeight || all);
    const ratio = devicePixelRatio || 1;
    for (const [canvas, height] of [[this.canvas, view.height], [this.whole, WHOLE]]) {
      canvas.width = Math.round(view.width * ratio); canvas.height = Math.round(height * ratio);
      canvas.style.height = `${height}px`;
    }
    this.density = new Float64Array(Math.max(1, Math.floor((view.width - GUTTER) / 2)));
    for (const from of model.from) {
      const at = Math.min(this.density.length - 1, Math.floor(from / model.end * this.density.length));
      this.density[at]++;
    }
    this.paint();
  }

  draw() {
    if (this.asked) return;
    this.asked = requestAnimationFrame(() => { this.asked = 0; this.paint(); });
  }

  paint() {
    const { view, model, theme } = this;
    if (!view.width) return;
    view.top = this.scroller.scrollTop;
    const ratio = devicePixelRatio || 1;
    const on = canvas => { const context = canvas.getContext("2d"); context.setTransform(ratio, 0, 0, ratio, 0, 0); return context; };
    paint(on(this.canvas), model, view, theme, this.state);
    paintWhole(on(this.whole), model, view, theme, this.density, WHOLE);
    const step = view.perPixel;
    this.where.textContent = `${moment(Math.max(view.from, 0), model.end, step)} to ${moment(Math.min(view.to, model.end), model.end, step)} (${length(view.span)})`;
  }

  set(from, to) {
    const view = this.view;
    const all = this.model.end + 2 * view.margin;
    const span = Math.min(Math.max(to - from, 500), all);
    const start = Math.min(Math.max(from + (to - from - span) / 2, -view.margin), this.model.end + view.margin - span);
    view.from = start; view.to = start + span;
    this.draw();
  }

  /** Goes there, seen to be going. */
  show(from, to) {
    const { from: a, to: b } = this.view;
    cancelAnimationFrame(this.going);
    if (still.matches) { this.set(from, to); return; }
    const began = performance.now();
    const go = now => {
      const part = Math.min((now - began) / 300, 1), eased = 1 - (1 - part) ** 3;
      this.set(a + (from - a) * eased, b + (to - b) * eased);
      if (part < 1) this.going = requestAnimationFrame(go);
    };
    this.going = requestAnimationFrame(go);
  }

  zoom(times, time = (this.view.from + this.view.to) / 2) {
    const { from, to } = this.view;
    this.set(time - (time - from) * times, time + (to - time) * times);
  }

  pan(part) {
    const { from, to, span } = this.view;
    this.set(from + part * span, to + part * span);
  }

  /** Shows the operations of a violation, or of none. */
  choose(check, violation) {
    const operations = this.model.data.violations[check]?.[violation] ?? [];
    this.state.chosen = operations; this.state.violation = operations.length ? [check, violation] : null;
    this.state.holds = this.model.data.holds.filter(hold => operations.includes(hold[5]));
    this.state.cursor = -1;
    this.clear.hidden = !operations.length;
    this.detail.replaceChildren();
    this.view.pin(operations.map(row => this.model.lane[row]));
    this.resize();
    this.onChoose(this.state.violation);
    if (!operations.length) return;
    let from = Infinity, to = -Infinity, top = Infinity, bottom = -Infinity;
    const { view } = this;
    for (const row of operations) {
      from = Math.min(from, this.model.from[row]); to = Math.max(to, this.model.to[row]);
      const place = view.place[this.model.lane[row]];
      top = Math.min(top, view.edge(place)); bottom = Math.max(bottom, view.edge(place + 1));
    }
    // What they hold from then on belongs to them.
    for (const [, , , until] of this.state.holds) to = Math.max(to, until);
    const air = Math.max((to - from) * .25, 2_000);
    this.show(from - air, to + air);
    this.scroller.scrollTo({ top: (top + bottom) / 2 - (view.height - AXIS) / 2 });
    this.draw();
  }

  nextViolation() {
    const all = [];
    this.model.data.violations.forEach((check, number) => check.forEach((operations, at) => { if (operations.length) all.push([number, at]); }));
    const now = this.state.violation;
    const at = now ? all.findIndex(([check, violation]) => check === now[0] && violation === now[1]) : -1;
    if (all.length) this.choose(...all[(at + 1) % all.length]);
  }

  /** What is at a place: `{operation}`, `{hold}`, `{fault}`, `{gap}` or nothing. */
  at(x, y) {
    const { view, model } = this;
    const number = view.lane(y);
    if (x < GUTTER || number < 0) return null;
    const lane = model.lanes[number], time = view.time(x), slack = 4 * view.perPixel;
    const faults = [...lane.strikes, ...lane.pauses];
    const rows = view.rows(number);
    const below = rows.stripHeight && y >= rows.strip - 1;
    const struck = lane.strikes.find(row => Math.abs(view.x(model.data.faults[row][0]) - x) <= 5);
    if (struck !== undefined && view.heightOf(number) >= 16 && y < view.y(number) + 16) return { fault: struck };
    const find = spans => { const at = spans.near(time, slack); return at < 0 ? -1 : spans.of[at]; };
    if (below) {
      const wait = find(lane.waits), hold = find(lane.holds);
      if (hold >= 0 && time >= model.data.holds[hold][2]) return { hold };
      if (wait >= 0) return { operation: wait };
      if (hold >= 0) return { hold };
    }
    const row = find(lane.operations);
    if (row >= 0) return { operation: row };
    const fault = faults.find(row => {
      const [at, until] = model.data.faults[row];
      return time >= at - slack && time <= Math.max(at, until) + slack;
    });
    if (fault !== undefined) return { fault };
    const gap = model.data.gaps.findIndex(([from, to]) => time >= from && time <= to);
    return gap >= 0 ? { gap } : null;
  }

  /** It in words, as elements. */
  about(thing) {
    const { model } = this, data = model.data;
    const list = element("dl", { className: "about" });
    const title = text => list.append(element("dt", { className: "title", textContent: visible(text) }));
    const say = (name, text) => list.append(element("dt", { textContent: visible(name) }), element("dd", { textContent: visible(text) }));
    const time = ns => moment(ns, model.end, 1_000);
    if (thing.operation !== undefined) {
      const row = thing.operation, rows = data.operations;
      title(`${model.kindName(row)} by worker ${model.worker(model.lane[row])}`);
      for (const [name, value] of model.argumentsOf(row)) say(name, typeof value === "string" ? value : JSON.stringify(value));
      say(["result", "failed", "unknown"][model.outcome[row]], model.resultOf(row));
      say("invoked", time(model.from[row]));
      if (rows.took[row] >= 0) say("took", `${length(rows.took[row])}, until ${time(model.to[row])}`);
      else say("took", "never answered");
      if (rows.commit[row] >= 0) say("commit", group.format(rows.commit[row]));
      const task = rows.task[row];
      if (task >= 0) say("task", `${data.tasks.id[task]} (${model.text(data.tasks.outcome[task])}): ${model.text(data.tasks.step[task])}`);
      say("number", `${model.id[row]}, in session ${rows.session[row]}`);
      const named = model.named.get(row);
      if (named) say("violations", howMany(named.length, "names it", "name it"));
    } else if (thing.hold !== undefined) {
      const [lane, lock, from, to, lapsed] = data.holds[thing.hold];
      title(`${data.locks[lock]} held by worker ${model.worker(lane)}`);
      say("from", time(from)); say("until", time(to)); say("for", length(to - from));
      if (lapsed >= 0) say("lapsed", `${time(lapsed)}: nothing is certain from here on`);
    } else if (thing.fault !== undefined) {
      const [at, until, name, lanes] = data.faults[thing.fault];
      title(`${name} of ${lanes.length > 8 ? howMany(lanes.length, "worker", "workers") : `worker ${lanes.map(lane => model.worker(lane)).join(", ")}`}`);
      say("at", time(at));
      if (until >= 0) say("until", `${time(until)} (${length(until - at)})`);
    } else {
      const [from, to, count] = data.gaps[thing.gap];
      title(`${howMany(count, "operation", "operations")} left out`);
      say("from", time(from)); say("until", time(to));
    }
    return list;
  }

  hover(event) {
    const box = this.canvas.getBoundingClientRect();
    const thing = this.at(event.clientX - box.left, event.clientY - box.top);
    this.board.classList.toggle("hitting", Boolean(thing));
    this.tip.hidden = !thing;
    if (!thing) return;
    this.tip.replaceChildren(this.about(thing));
    const { offsetWidth: width, offsetHeight: height } = this.tip;
    const x = event.clientX + 14 + width > innerWidth ? event.clientX - 14 - width : event.clientX + 14;
    const y = event.clientY + 18 + height > innerHeight ? event.clientY - 12 - height : event.clientY + 18;
    this.tip.style.left = `${Math.max(4, x)}px`; this.tip.style.top = `${Math.max(4, y)}px`;
  }

  /** Keeps what is said of a thing under the timeline. */
  keep(thing) {
    this.state.cursor = thing?.operation ?? -1;
    this.detail.replaceChildren(...(thing ? [this.about(thing)] : []));
    this.draw();
  }

  /** Puts the cursor on an operation and it into view. */
  go(row) {
    const { view, model } = this;
    this.keep({ operation: row });
    if (model.to[row] < view.from || model.from[row] > view.to) {
      const middle = (model.from[row] + model.to[row]) / 2;
      this.set(middle - view.span / 2, middle + view.span / 2);
    }
    const lane = model.lane[row], y = view.edge(view.place[lane]);
    if (y < this.scroller.scrollTop || y + view.heightOf(lane) > this.scroller.scrollTop + view.height - AXIS) {
      this.scroller.scrollTo({ top: y - view.height / 2 });
    }
  }

  /** The operation `by` after the cursor in its lane. */
  along(by) {
    const { model, state } = this;
    if (state.cursor < 0) { this.across(0); return; }
    const lane = model.lane[state.cursor];
    for (let row = state.cursor + by; row >= 0 && row < model.count; row += by) {
      if (model.lane[row] === lane) { this.go(row); return; }
    }
  }

  /** An operation of the lane `by` below the cursor's, at about the same time. */
  across(by) {
    const { model, view, state } = this;
    const time = state.cursor >= 0 ? model.from[state.cursor] : (view.from + view.to) / 2;
    let place = state.cursor >= 0 ? view.place[model.lane[state.cursor]] : view.placeAt(view.top);
    do {
      place += by;
      const spans = model.lanes[view.order[place]]?.operations;
      if (!spans) return;
      if (spans.of.length) { this.go(spans.of[Math.min(spans.first(time), spans.of.length - 1)]); return; }
    } while (by);
  }

  listen() {
    const { canvas, view } = this;
    let drag = null;
    canvas.addEventListener("pointerdown", event => {
      if (event.button) return;
      cancelAnimationFrame(this.going);
      canvas.focus({ preventScroll: true });
      canvas.setPointerCapture(event.pointerId);
      drag = { x: event.clientX, y: event.clientY, from: view.from, to: view.to, top: this.scroller.scrollTop, moved: false };
    });
    canvas.addEventListener("pointermove", event => {
      if (!drag) { this.hover(event); return; }
      const x = event.clientX - drag.x, y = event.clientY - drag.y;
      if (Math.hypot(x, y) > 4) { drag.moved = true; this.tip.hidden = true; this.board.classList.add("dragging"); }
      if (!drag.moved) return;
      const by = x * view.perPixel;
      this.set(drag.from - by, drag.to - by);
      this.scroller.scrollTop = drag.top - y;
    });
    const drop = event => {
      const click = drag && !drag.moved;
      drag = null;
      this.board.classList.remove("dragging");
      if (!click || event.type !== "pointerup") return;
      const box = canvas.getBoundingClientRect();
      const thing = this.at(event.clientX - box.left, event.clientY - box.top);
      this.keep(thing);
    };
    canvas.addEventListener("pointerup", drop);
    canvas.addEventListener("pointercancel", drop);
    canvas.addEventListener("pointerleave", () => { this.tip.hidden = true; });
    canvas.addEventListener("dblclick", event => this.zoom(.25, view.time(event.clientX - canvas.getBoundingClientRect().left)));
    canvas.addEventListener("wheel", event => {
      const size = event.deltaMode === 1 ? 20 : event.deltaMode === 2 ? 400 : 1;
      const across = event.shiftKey && !event.deltaX ? event.deltaY : event.deltaX;
      const zooms = event.ctrlKey || event.metaKey || (document.activeElement === canvas && !event.shiftKey && Math.abs(event.deltaY) > Math.abs(event.deltaX));
      if (zooms) this.zoom(Math.exp(Math.max(-120, Math.min(120, event.deltaY * size)) * .004), view.time(event.clientX - canvas.getBoundingClientRect().left));
      else if (across) this.set(view.from + across * size * view.perPixel, view.to + across * size * view.perPixel);
      else return;
      event.preventDefault();
      this.tip.hidden = true;
    }, { passive: false });
    canvas.addEventListener("keydown", event => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const acts = {
        ArrowLeft: () => this.pan(-.15), ArrowRight: () => this.pan(.15), "+": () => this.zoom(.6), "=": () => this.zoom(.6), "-": () => this.zoom(1 / .6),
        0: () => this.show(-view.margin, this.model.end + view.margin), Home: () => this.show(-view.margin, this.model.end + view.margin),
        ArrowUp: () => this.across(-1), ArrowDown: () => this.across(1), n: () => this.along(1), p: () => this.along(-1),
        v: () => this.nextViolation(), Escape: () => { this.choose(-1, -1); this.keep(null); },
      };
      const act = acts[event.key];
      if (act) { event.preventDefault(); this.tip.hidden = true; act(); }
    });
    this.scroller.addEventListener("scroll", () => { this.tip.hidden = true; this.draw(); });
    let holding = false;
    const centre = event => {
      const x = event.clientX - this.whole.getBoundingClientRect().left;
      const time = (x - GUTTER) / Math.max(view.width - GUTTER, 1) * this.model.end;
      this.set(time - view.span / 2, time + view.span / 2);
    };
    this.whole.addEventListener("pointerdown", event => { cancelAnimationFrame(this.going); holding = true; this.whole.setPointerCapture(event.pointerId); centre(event); });
    this.whole.addEventListener("pointermove", event => { if (holding) centre(event); });
    for (const name of ["pointerup", "pointercancel"]) this.whole.addEventListener(name, () => { holding = false; });
  }
}
