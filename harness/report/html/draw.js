// How a timeline looks. Only what is in view is drawn, and no two things on one pixel.

const GUTTER = 84, AXIS = 26, TALL = 46;

/** Colours and patterns of the page as it is now. `kinds` are elements that have the colours of kinds. */
class Theme {
  constructor(kinds) {
    const style = getComputedStyle(document.documentElement);
    const get = name => style.getPropertyValue(`--${name}`).trim();
    for (const name of ["ground", "raised", "line", "ink", "soft", "lane", "laneOdd", "absent", "task", "fault", "mark", "pause", "focus", "onOperation"]) {
      this[name] = get(name.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`));
    }
    this.kinds = kinds.map(element => getComputedStyle(element).backgroundColor);
    this.locks = [0, 1, 2, 3, 4, 5].map(lock => get(`lock-${lock}`));
    this.sans = get("sans"); this.mono = get("mono");
    this.patterns = new Map();
  }
  lock(index) { return this.locks[Math.max(index, 0) % this.locks.length]; }
  hatched(context, colour, gap = 6) {
    const key = `${colour} ${gap}`;
    if (!this.patterns.has(key)) {
      const tile = document.createElement("canvas");
      const size = gap * 2;
      tile.width = tile.height = size;
      const on = tile.getContext("2d");
      on.fillStyle = colour; on.globalAlpha = .16; on.fillRect(0, 0, size, size);
      on.globalAlpha = .62; on.strokeStyle = colour; on.lineWidth = 1.4;
      on.beginPath();
      for (let x = -size; x <= size * 2; x += gap) { on.moveTo(x, size); on.lineTo(x + size, 0); }
      on.stroke();
      this.patterns.set(key, context.createPattern(tile, "repeat"));
    }
    return this.patterns.get(key);
  }
}

/** Where things are: the window of time and the lanes in view, those that are pinned first and tall. */
class View {
  constructor(model) {
    this.model = model;
    this.margin = model.end * .015;
    this.from = -this.margin; this.to = model.end + this.margin;
    this.width = 0; this.height = 0; this.top = 0;
    this.small = Math.max(13, Math.min(TALL, Math.floor(640 / Math.max(model.lanes.length, 1))));
    this.pin([]);
  }
  /** Puts these lanes before all others, if they would be far apart. */
  pin(lanes) {
    const count = this.model.lanes.length;
    const pinned = lanes.length <= 16 && count * this.small > 320 ? [...new Set(lanes)].sort((a, b) => a - b) : [];
    this.pinned = pinned.length;
    this.order = pinned.concat([...Array(count).keys()].filter(lane => !pinned.includes(lane)));
    this.place = [];
    this.order.forEach((lane, place) => { this.place[lane] = place; });
  }
  get span() { return this.to - this.from; }
  get perPixel() { return this.span / Math.max(this.width - GUTTER, 1); }
  get all() { return AXIS + this.edge(this.order.length); }
  x(time) { return GUTTER + (time - this.from) / this.span * (this.width - GUTTER); }
  time(x) { return this.from + (x - GUTTER) / Math.max(this.width - GUTTER, 1) * this.span; }
  /** Where the lane at a place begins, from the first. */
  edge(place) { return Math.min(place, this.pinned) * TALL + Math.max(place - this.pinned, 0) * this.small; }
  y(lane) { return AXIS + this.edge(this.place[lane]) - this.top; }
  heightOf(lane) { return this.place[lane] < this.pinned ? TALL : this.small; }
  placeAt(offset) { return Math.floor(offset < this.pinned * TALL ? offset / TALL : this.pinned + (offset - this.pinned * TALL) / this.small); }
  lane(y) { return y < AXIS ? -1 : this.order[this.placeAt(y - AXIS + this.top)] ?? -1; }
  shows(lane) { const y = this.y(lane); return y < this.height && y + this.heightOf(lane) > AXIS; }
  /** The lanes in view. */
  lanes() { return this.order.slice(this.placeAt(this.top), this.placeAt(this.top + this.height) + 1); }
  /** The rows of a lane: operations above, its locks below. */
  rows(lane) {
    const y = this.y(lane), height = this.heightOf(lane);
    const air = height >= 24 ? 4 : height >= 16 ? 2 : 1;
    const strip = this.model.hasLocks ? Math.max(3, Math.round(height * .28)) : 0;
    const below = strip ? (height >= 24 ? 2 : 1) : 0;
    return {
      top: y + air, height: Math.max(2, height - 2 * air - strip - below),
      strip: y + height - air - strip, stripHeight: strip,
    };
  }
  /** The box of an operation, at least `least` pixels wide. */
  box(row, least) {
    const model = this.model, rows = this.rows(model.lane[row]);
    const x = this.x(model.from[row]);
    const width = Math.max(least, this.x(model.to[row]) - x);
    return model.isWait[model.kind[row]]
      ? { x, width, y: rows.strip, height: rows.stripHeight }
      : { x, width, y: rows.top, height: rows.height };
  }
}

function paint(context, model, view, theme, state) {
  context.fillStyle = theme.ground;
  context.fillRect(0, 0, view.width, view.height);
  const lanes = view.lanes();
  context.save();
  context.beginPath();
  context.rect(GUTTER, AXIS, view.width - GUTTER, view.height - AXIS);
  context.clip();
  for (const lane of lanes) paintGround(context, model, view, theme, lane);
  paintGrid(context, view, theme);
  paintGaps(context, model, view, theme);
  const dim = state.chosen.length > 0 ? .38 : 1;
  context.globalAlpha = dim;
  const boxes = new Map();
  for (const lane of lanes) {
    paintLocks(context, model, view, theme, lane);
    collect(context, model, view, theme, lane, boxes);
  }
  for (const [colour, rects] of boxes) {
    context.fillStyle = colour;
    for (let at = 0; at < rects.length; at += 4) context.fillRect(rects[at], rects[at + 1], rects[at + 2], rects[at + 3]);
  }
  paintLabels(context, model, view, theme, lanes, null);
  context.globalAlpha = 1;
  paintFaults(context, model, view, theme, lanes);
  paintMarked(context, model, view, theme, state, lanes);
  context.restore();
  paintGutter(context, model, view, theme, lanes, state);
  paintAxis(context, model, view, theme);
}

function paintGround(context, model, view, theme, number) {
  const lane = model.lanes[number], y = view.y(number), height = view.heightOf(number);
  context.fillStyle = theme.absent;
  context.fillRect(GUTTER, y, view.width - GUTTER, height - 1);
  context.fillStyle = view.place[number] % 2 ? theme.laneOdd : theme.lane;
  for (const [, , , opened, over] of lane.sessions) {
    const to = over < 0 ? Infinity : over;
    if (to < view.from || opened > view.to) continue;
    const x = Math.max(GUTTER, view.x(opened));
    context.fillRect(x, y, Math.min(view.width, view.x(Math.min(to, view.to))) - x, height - 1);
  }
  for (const row of lane.pauses) {
    const [from, to] = model.data.faults[row];
    if (to < view.from || from > view.to) continue;
    const x = view.x(from), width = Math.max(2, view.x(to) - x);
    context.fillStyle = theme.pause; context.globalAlpha = .55;
    context.fillRect(x, y, width, height - 1);
    context.globalAlpha = 1;
    context.fillStyle = theme.fault;
    context.fillRect(x, y, 1.5, height - 1); context.fillRect(x + width - 1.5, y, 1.5, height - 1);
  }
  if (height < 20) return;
  const tasks = lane.tasks;
  context.fillStyle = theme.task;
  for (let at = tasks.first(view.from); at < tasks.of.length && tasks.from[at] <= view.to; at++) {
    const x = view.x(tasks.from[at]), width = view.x(tasks.to[at]) - x;
    if (width >= 8) context.fillRect(x, y + 1, width, height - 3);
    else at = Math.max(at, tasks.first(view.time(x + 8)) - 1);
  }
}

function paintGaps(context, model, view, theme) {
  for (const [from, to, count] of model.data.gaps) {
    if (to < view.from || from > view.to) continue;
    const x = Math.max(GUTTER, view.x(from)), width = Math.min(view.width, view.x(to)) - x;
    if (width < .5) continue;
    context.fillStyle = theme.hatched(context, theme.soft, 8); context.globalAlpha = .5;
    context.fillRect(x, AXIS, width, view.height - AXIS);
    context.globalAlpha = 1;
    const text = `${group.format(count)} left out`;
    context.font = `11px ${theme.sans}`;
    const wide = context.measureText(text).width;
    if (wide + 16 < width) {
      context.fillStyle = theme.ground;
      context.fillRect(x + (width - wide) / 2 - 6, AXIS + 4, wide + 12, 18);
      context.fillStyle = theme.soft; context.textAlign = "center"; context.textBaseline = "middle";
      context.fillText(text, x + width / 2, AXIS + 13);
    }
  }
}

function paintLocks(context, model, view, theme, number) {
  if (!model.hasLocks) return;
  const lane = model.lanes[number], rows = view.rows(number);
  const { waits, holds } = lane;
  for (let at = waits.first(view.from); at < waits.of.length && waits.from[at] <= view.to; at++) {
    const x = Math.max(view.x(waits.from[at]), GUTTER - 20), width = Math.min(view.width + 20, view.x(waits.to[at])) - x;
    const row = waits.of[at];
    paintWait(context, theme, theme.lock(model.lock[row]), x, rows.strip, width, rows.stripHeight, model.outcome[row]);
    if (width < 1) at = Math.max(at, waits.first(view.time(x + 1)) - 1);
  }
  for (let at = holds.first(view.from); at < holds.of.length && holds.from[at] <= view.to; at++) {
    const [, lock, from, to, lapsed] = model.data.holds[holds.of[at]];
    const x = Math.max(view.x(from), GUTTER - 4), end = Math.min(view.width + 4, view.x(to));
    context.fillStyle = theme.lock(lock);
    const solid = lapsed < 0 ? end : Math.min(end, Math.max(x, view.x(lapsed)));
    context.fillRect(x, rows.strip, Math.max(1, solid - x), rows.stripHeight);
    if (solid < end) {
      const alpha = context.globalAlpha;
      context.globalAlpha = alpha * .4; context.fillRect(solid, rows.strip, end - solid, rows.stripHeight);
      context.globalAlpha = alpha;
    }
    if (end - x < 1) at = Math.max(at, holds.first(view.time(x + 1)) - 1);
  }
}

/** A wait for a lock: hatched; one that ended without it has a bar at its end. */
function paintWait(context, theme, colour, x, y, width, height, outcome) {
  const alpha = context.globalAlpha;
  if (width < 5) {
    context.globalAlpha = alpha * .5; context.fillStyle = colour;
    context.fillRect(x, y, Math.max(1, width), height);
    context.globalAlpha = alpha;
  } else {
    context.fillStyle = theme.hatched(context, colour, 5);
    context.fillRect(x, y, width, height);
  }
  if (outcome !== OK && width >= 2) {
    context.fillStyle = theme.fault;
    context.fillRect(x + width - 2, y, 2, height);
  }
}

/** Puts the boxes of a lane's operations to those of their colour; draws what is no plain box. */
function collect(context, model, view, theme, number, boxes) {
  const spans = model.lanes[number].operations, rows = view.rows(number);
  for (let at = spans.first(view.from); at < spans.of.length && spans.from[at] <= view.to; at++) {
    const row = spans.of[at];
    const x = Math.max(view.x(spans.from[at]), GUTTER - 4), width = Math.min(view.width + 4, view.x(spans.to[at])) - x;
    const colour = theme.kinds[model.kind[row]];
    const least = Math.max(width, 1);
    if (model.outcome[row] === OK || (model.outcome[row] === FAIL && width < 4)) {
      let rects = boxes.get(colour);
      if (!rects) boxes.set(colour, rects = []);
      // A hair of air, so that one operation after the other are two.
      rects.push(x, rows.top, least > 4 ? least - .75 : least, rows.height);
    } else if (model.outcome[row] === FAIL) paintFailed(context, colour, x, rows.top, least, rows.height);
    else paintUnknown(context, colour, x, rows.top, least, rows.height);
    if (width < 1) at = Math.max(at, spans.first(view.time(x + 1)) - 1);
  }
}

function paintFailed(context, colour, x, y, width, height) {
  context.strokeStyle = colour; context.lineWidth = 1.5;
  context.strokeRect(x + .75, y + .75, width - 1.5, height - 1.5);
  if (width >= 12 && height >= 10) {
    context.beginPath();
    context.moveTo(x + 3, y + height - 3); context.lineTo(x + width - 3, y + 3);
    context.globalAlpha *= .5; context.stroke(); context.globalAlpha *= 2;
  }
}

/** It may take effect at any later time: it fades out beyond its end. */
function paintUnknown(context, colour, x, y, width, height) {
  const alpha = context.globalAlpha;
  context.fillStyle = colour;
  context.fillRect(x, y, width, height);
  for (let step = 0; step < 6; step++) {
    context.globalAlpha = alpha * (.75 - step * .12);
    context.fillRect(x + width + 1 + step * 5, y + step * height * .05, 3, height * (1 - step * .1));
  }
  context.globalAlpha = alpha;
}

function paintLabels(context, model, view, theme, lanes, only) {
  context.font = `11px ${theme.sans}`; context.textBaseline = "middle"; context.textAlign = "left";
  const one = row => {
    const box = view.box(row, 0);
    const x = Math.max(box.x, GUTTER), width = Math.min(box.x + box.width, view.width) - x;
    if (width < 34 || box.height < 12 || model.isWait[model.kind[row]]) return;
    context.save();
    context.beginPath(); context.rect(x, box.y, width - 3, box.height); context.clip();
    context.fillStyle = model.outcome[row] === FAIL ? theme.ink : theme.onOperation;
    context.fillText(model.label(row), x + 5, box.y + box.height / 2 + .5);
    context.restore();
  };
  if (only) { only.forEach(one); return; }
  for (const lane of lanes) {
    if (view.heightOf(lane) < 24) continue;
    const spans = model.lanes[lane].operations;
    const least = 34 * view.perPixel;
    for (let at = spans.first(view.from); at < spans.of.length && spans.from[at] <= view.to; at++) {
      if (spans.to[at] - spans.from[at] >= least) one(spans.of[at]);
    }
  }
}

function paintEnds(context, model, view, theme, lanes) {
  for (const number of lanes) {
    const y = view.y(number), height = view.heightOf(number);
    for (const [, , , , over, how] of model.lanes[number].sessions) {
      if (over < view.from || over > view.to) continue;
      context.fillStyle = how === "closed" ? theme.soft : theme.fault;
      const x = view.x(over);
      context.fillRect(x, y, 2, height - 1);
      context.fillRect(x - 4, y, 4, 2); context.fillRect(x - 4, y + height - 3, 4, 2);
    }
  }
}

const SIGNS = { kill: "✕", trap: "!", drop: "↓", stop: "‖", "power-loss": "↯", "clock-jump": "◷" };

function paintFaults(context, model, view, theme, lanes) {
  paintEnds(context, model, view, theme, lanes);
  context.font = `bold 10px ${theme.sans}`; context.textAlign = "center"; context.textBaseline = "middle";
  let drawn = -Infinity;
  for (const [at, until, name, lanes] of model.data.faults) {
    if (Math.max(at, until) < view.from || at > view.to) continue;
    const x = view.x(at);
    if (x - drawn >= 2) {
      context.fillStyle = theme.fault; context.globalAlpha = .3;
      context.fillRect(x - .5, AXIS, 1, view.height - AXIS);
      context.globalAlpha = 1;
      drawn = x;
    }
    for (const lane of lanes) {
      if (!view.shows(lane)) continue;
      const y = view.y(lane), height = view.heightOf(lane);
      context.fillStyle = theme.fault;
      if (until < 0) context.fillRect(x - 1, y, 2, height - 1);
      if (height >= 16) {
        const radius = Math.min(7, height / 2 - 1);
        context.beginPath(); context.arc(x, y + radius + 1, radius, 0, 7); context.fill();
        context.fillStyle = theme.ground;
        context.fillText(SIGNS[name] ?? "•", x, y + radius + 1.5);
      }
    }
  }
}

/** The operations that violations name, above all else; those of the chosen one with numbers. */
function paintMarked(context, model, view, theme, state, lanes) {
  const outline = (row, number) => {
    const lane = model.lane[row];
    if (!view.shows(lane) || model.to[row] < view.from || model.from[row] > view.to) return;
    const box = view.box(row, 3);
    const x = Math.max(box.x, GUTTER - 6), width = Math.min(box.x + box.width, view.width + 6) - x;
    if (number) {
      if (model.isWait[model.kind[row]]) paintWait(context, theme, theme.lock(model.lock[row]), x, box.y, width, box.height, model.outcome[row]);
      else if (model.outcome[row] === FAIL) paintFailed(context, theme.kinds[model.kind[row]], x, box.y, width, box.height);
      else if (model.outcome[row] === INFO) paintUnknown(context, theme.kinds[model.kind[row]], x, box.y, width, box.height);
      else { context.fillStyle = theme.kinds[model.kind[row]]; context.fillRect(x, box.y, width, box.height); }
      paintLabels(context, model, view, theme, lanes, [row]);
    }
    context.strokeStyle = theme.ground; context.lineWidth = 4;
    context.strokeRect(x - 1.5, box.y - 1.5, width + 3, box.height + 3);
    context.strokeStyle = theme.mark; context.lineWidth = 2;
    context.strokeRect(x - 1.5, box.y - 1.5, width + 3, box.height + 3);
    if (!number) return;
    context.font = `bold 11px ${theme.sans}`;
    const text = String(number), wide = Math.max(15, context.measureText(text).width + 8);
    const left = Math.max(GUTTER, Math.min(x - 4, view.width - wide)), y = Math.max(AXIS, box.y - 10);
    context.fillStyle = theme.mark;
    context.beginPath(); context.roundRect(left, y, wide, 15, 7); context.fill();
    context.fillStyle = theme.ground; context.textAlign = "center"; context.textBaseline = "middle";
    context.fillText(text, left + wide / 2, y + 8);
  };
  if (state.chosen.length) {
    // The holds that the chosen operations began stand out too.
    state.holds.forEach(([lane, lock, from, to]) => {
      if (!view.shows(lane)) return;
      const rows = view.rows(lane);
      context.fillStyle = theme.lock(lock);
      const x = Math.max(view.x(from), GUTTER - 4);
      context.fillRect(x, rows.strip, Math.max(2, Math.min(view.width + 4, view.x(to)) - x), rows.stripHeight);
    });
    [...state.chosen].reverse().forEach((row, at) => outline(row, state.chosen.length - at));
  } else for (const row of model.named.keys()) outline(row, 0);
  if (state.cursor >= 0) {
    const box = view.box(state.cursor, 3);
    context.strokeStyle = theme.ink; context.lineWidth = 2; context.setLineDash([3, 2]);
    context.strokeRect(box.x - 3, box.y - 3, box.width + 6, box.height + 6);
    context.setLineDash([]);
  }
}

function paintGutter(context, model, view, theme, lanes, state) {
  context.fillStyle = theme.ground;
  context.fillRect(0, AXIS, GUTTER, view.height - AXIS);
  context.textAlign = "right"; context.textBaseline = "middle";
  for (const lane of lanes) {
    const y = view.y(lane) + view.heightOf(lane) / 2, size = Math.min(12, view.heightOf(lane) - 2);
    const hot = state.chosen.some(row => model.lane[row] === lane);
    context.font = `${hot ? "bold " : ""}${size}px ${theme.sans}`;
    context.fillStyle = hot ? theme.mark : theme.soft;
    context.fillText(`worker ${model.worker(lane)}`, GUTTER - 8, y);
  }
  if (view.pinned && view.pinned < view.order.length) {
    context.fillStyle = theme.soft;
    context.fillRect(0, AXIS + view.edge(view.pinned) - view.top - 1, view.width, 1);
  }
}

function paintAxis(context, model, view, theme) {
  context.fillStyle = theme.ground;
  context.fillRect(0, 0, view.width, AXIS);
  context.fillStyle = theme.line;
  context.fillRect(0, AXIS - 1, view.width, 1);
  context.font = `11px ${theme.sans}`; context.textBaseline = "middle"; context.textAlign = "left";
  ticks(view, (at, x, step) => {
    context.fillStyle = theme.line;
    context.fillRect(x, AXIS - 8, 1, 8);
    context.fillStyle = theme.soft;
    context.fillText(moment(at, model.end, step), x + 4, AXIS / 2);
  });
}

function paintGrid(context, view, theme) {
  context.fillStyle = theme.line; context.globalAlpha = .7;
  ticks(view, (_, x) => context.fillRect(x, AXIS, 1, view.height - AXIS));
  context.globalAlpha = 1;
}

function ticks(view, draw) {
  const step = tick(view.perPixel * 110);
  for (let at = Math.max(0, Math.ceil(view.from / step)) * step; at <= view.to; at += step) {
    const x = view.x(at);
    if (x >= GUTTER - 1) draw(at, x, step);
  }
}

/** 1, 2 or 5 times a power of ten, no less than `least`. */
function tick(least) {
  const ten = 10 ** Math.floor(Math.log10(Math.max(least, 1)));
  return [1, 2, 5, 10].map(times => times * ten).find(step => step >= least) ?? 10 * ten;
}

/** The whole run in one strip: how much was done when, faults, violations, and what is in view. */
function paintWhole(context, model, view, theme, density, height) {
  const width = view.width, room = width - GUTTER;
  const x = time => GUTTER + Math.min(Math.max(time / model.end, 0), 1) * room;
  context.fillStyle = theme.ground; context.fillRect(0, 0, width, height);
  const most = density.reduce((a, b) => Math.max(a, b), 1);
  context.fillStyle = theme.soft; context.globalAlpha = .55;
  density.forEach((count, at) => {
    const tall = count / most * (height - 12);
    if (count) context.fillRect(GUTTER + at * 2, height - Math.max(1, tall), 1.5, Math.max(1, tall));
  });
  context.globalAlpha = 1;
  context.fillStyle = theme.hatched(context, theme.soft, 8);
  for (const [from, to] of model.data.gaps) context.fillRect(x(from), 0, Math.max(1, x(to) - x(from)), height);
  context.fillStyle = theme.fault; context.globalAlpha = .6;
  for (const [at, until] of model.data.faults) context.fillRect(x(at), 0, until < 0 ? 1 : Math.max(1, x(until) - x(at)), 5);
  context.globalAlpha = 1;
  context.fillStyle = theme.mark;
  for (const row of model.named.keys()) {
    const at = x(model.from[row]);
    context.beginPath(); context.moveTo(at - 5, 0); context.lineTo(at + 5, 0); context.lineTo(at, 9); context.fill();
  }
  const from = x(view.from), to = Math.max(from + 3, x(view.to));
  context.fillStyle = theme.ground; context.globalAlpha = .6;
  context.fillRect(GUTTER, 0, from - GUTTER, height); context.fillRect(to, 0, width - to, height);
  context.globalAlpha = 1;
  context.strokeStyle = theme.focus; context.lineWidth = 1.5;
  context.strokeRect(from + .75, .75, to - from - 1.5, height - 1.5);
  context.fillStyle = theme.soft; context.font = `11px ${theme.sans}`; context.textAlign = "right"; context.textBaseline = "middle";
  context.fillText("whole run", GUTTER - 8, height / 2);
}
