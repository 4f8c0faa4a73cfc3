// What a timeline shows: the page's data, unpacked, and found by time and lane.

/** Spans of time in the order of their beginnings, which may overlap. */
class Spans {
  constructor() { this.from = []; this.to = []; this.of = []; this.reach = []; }
  add(from, to, of) {
    this.from.push(from); this.to.push(to); this.of.push(of);
    const last = this.reach.length ? this.reach[this.reach.length - 1] : -Infinity;
    this.reach.push(Math.max(last, to));
  }
  /** The first that may reach `time`: none before it does. */
  first(time) {
    let low = 0, high = this.reach.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.reach[middle] < time) low = middle + 1; else high = middle;
    }
    return low;
  }
  /** The one nearest to `time`, no further from it than `slack`; the latest if several hold it. */
  near(time, slack) {
    let best = -1, nearest = Infinity;
    for (let at = this.first(time - slack); at < this.from.length && this.from[at] <= time + slack; at++) {
      const away = Math.max(this.from[at] - time, time - this.to[at], 0);
      if (away <= slack && away <= nearest) { nearest = away; best = at; }
    }
    return best;
  }
}

const OK = 0, FAIL = 1, INFO = 2;

class Model {
  constructor(data) {
    this.data = data;
    this.end = Math.max(data.end, 1);
    const rows = data.operations;
    this.count = rows.id.length;
    this.id = new Float64Array(this.count);
    this.from = new Float64Array(this.count);
    this.to = new Float64Array(this.count);
    this.lane = rows.lane; this.kind = rows.kind; this.outcome = rows.outcome; this.lock = rows.lock;
    this.isWait = data.kinds.map(([name]) => name === "lock-acquire");
    const over = new Map(data.sessions.map(session => [session[0], session[4]]));
    this.lanes = data.lanes.map(worker => ({
      worker, operations: new Spans(), waits: new Spans(), holds: new Spans(), tasks: new Spans(),
      sessions: [], pauses: [], strikes: [],
    }));
    let id = 0, at = 0;
    for (let row = 0; row < this.count; row++) {
      id += rows.id[row]; at += rows.at[row];
      this.id[row] = id; this.from[row] = at;
      let to = at + rows.took[row];
      if (rows.took[row] < 0) {
        const end = over.get(rows.session[row]);
        to = Math.max(at, end === undefined || end < 0 ? this.end : end);
      }
      this.to[row] = to;
      const lane = this.lanes[this.lane[row]];
      (this.isWait[this.kind[row]] ? lane.waits : lane.operations).add(at, to, row);
    }
    at = 0;
    const tasks = data.tasks;
    this.taskFrom = new Float64Array(tasks.id.length);
    for (let row = 0; row < tasks.id.length; row++) {
      at += tasks.at[row];
      this.taskFrom[row] = at;
      const to = tasks.took[row] < 0 ? this.end : at + tasks.took[row];
      this.lanes[tasks.lane[row]].tasks.add(at, to, row);
    }
    data.holds.forEach(([lane, , from, to], row) => this.lanes[lane].holds.add(from, to, row));
    for (const session of data.sessions) this.lanes[session[1]].sessions.push(session);
    data.faults.forEach((fault, row) => {
      for (const lane of fault[3]) (fault[1] < 0 ? this.lanes[lane].strikes : this.lanes[lane].pauses).push(row);
    });
    this.hasLocks = data.holds.length > 0 || this.lanes.some(lane => lane.waits.of.length > 0);
    /** Which violations name an operation. */
    this.named = new Map();
    data.violations.forEach((check, number) => check.forEach((operations, violation) => {
      for (const row of operations) {
        if (!this.named.has(row)) this.named.set(row, []);
        this.named.get(row).push([number, violation]);
      }
    }));
  }

  text(index) { return this.data.strings[index] ?? ""; }
  kindName(row) { return this.data.kinds[this.kind[row]][0]; }
  worker(lane) { return this.data.lanes[lane]; }
  argumentsOf(row) {
    const text = this.text(this.data.operations.arguments[row]);
    try { return Object.entries(JSON.parse(`{${text}}`)); } catch { return [["arguments", text]]; }
  }
  resultOf(row) { return this.text(this.data.operations.result[row]); }

  /** What stands in a box: `set n = 3 → null`. */
  label(row) {
    const fields = new Map(this.argumentsOf(row));
    const what = fields.get("key") ?? fields.get("id") ?? fields.get("lock") ?? fields.get("name");
    const value = fields.has("value") ? ` = ${JSON.stringify(fields.get("value"))}` : "";
    const result = this.resultOf(row);
    const said = this.outcome[row] === OK ? (result === "null" && this.data.kinds[this.kind[row]][1] !== "read" ? "" : ` → ${result}`) : ` ${this.outcome[row] === FAIL ? "✗" : "?"} ${result}`;
    return visible(`${this.kindName(row)}${what === undefined ? "" : ` ${what}`}${value}${said}`);
  }
}

/** The text with what can't be seen, or turns the direction of writing, as an escape. */
function visible(text) {
  const unseen = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;
  return String(text).replace(unseen, one => `\\u{${one.codePointAt(0).toString(16)}}`);
}

const group = new Intl.NumberFormat("en-US");
function howMany(number, one, many) { return `${group.format(number)} ${number === 1 ? one : many}`; }

/** A length of time: `412 ns`, `1.25 ms`. */
function length(ns) {
  if (ns < 1e3) return `${Math.round(ns)} ns`;
  const [value, unit] = ns < 1e6 ? [ns / 1e3, "µs"] : ns < 1e9 ? [ns / 1e6, "ms"] : [ns / 1e9, "s"];
  return `${value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0)} ${unit}`;
}

/** A moment of the run; `step` is how finely it is told, in nanoseconds. */
function moment(ns, end, step) {
  const [size, unit, places] = end < 1e10 ? [1e6, "ms", 6] : [1e9, "s", 9];
  const digits = Math.min(places, Math.max(0, Math.ceil(Math.log10(size / step) - 1e-9)));
  return `${new Intl.NumberFormat("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(ns / size)} ${unit}`;
}
