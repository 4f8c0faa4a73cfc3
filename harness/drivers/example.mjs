// A complete driver, see ../PROTOCOL.md: dictionaries and locks in a folder, for any number of
// processes. Each value is a file, replaced by renaming. The grants of a lock are files numbered
// from 1: whoever manages to create the next number holds it, until the file's time is past or
// the process that it names is gone. They are never removed, so no number is created twice.
import fs from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

let root, drafts = 0;
const held = new Map(); // "client lock" to the file of its grant
const newest = new Map(); // lock to a grant that was there, so that nobody counts from 1
const hex = (text) => "=" + Buffer.from(text).toString("hex"); // any name makes a file name
const fail = (error) => { throw Object.assign(new Error(error), { error }); };

function unless(code, action, otherwise) {
  try { return action(); } catch (error) { if (error.code === code) return otherwise; throw error; }
}
function draft(text, file) { // written in full before it appears as `file`
  fs.mkdirSync(path.dirname(file), { recursive: true });
  const written = path.join(root, `draft-${process.pid}-${drafts++}`);
  fs.writeFileSync(written, text);
  return written;
}
const valueFile = ({ name, key }) => path.join(root, "dict", hex(name), hex(key));
const grantFile = (lock, number) => path.join(root, "lock", hex(lock), String(number));
const setEnd = (file, ttl) => fs.utimesSync(file, new Date(), new Date(Date.now() + ttl));
const isAlive = (pid) => unless("ESRCH", () => process.kill(pid, 0), false);
const isOver = (file) => fs.statSync(file).mtimeMs <= Date.now() || !isAlive(Number(fs.readFileSync(file)));
function ownGrant({ client, lock }) {
  const file = held.get(`${client} ${lock}`) ?? fail("not-held");
  return fs.existsSync(grantFile(lock, Number(path.basename(file)) + 1)) ? fail("lock-lost") : file;
}
async function acquire({ client, lock, timeout_ms, ttl_ms }) {
  if (held.has(`${client} ${lock}`)) fail("already-held");
  const start = performance.now();
  for (let number = newest.get(lock) ?? 1; ; ) {
    while (fs.existsSync(grantFile(lock, number))) newest.set(lock, number++);
    if (number === 1 || isOver(grantFile(lock, number - 1))) {
      const file = grantFile(lock, number);
      const mine = draft(String(process.pid), file);
      setEnd(mine, ttl_ms ?? 60_000);
      const isFirst = unless("EEXIST", () => (fs.linkSync(mine, file), true), false);
      fs.unlinkSync(mine);
      if (isFirst) held.set(`${client} ${lock}`, file);
      if (isFirst) return { token: number };
    }
    const left = (timeout_ms ?? Infinity) - (performance.now() - start);
    if (left <= 0) fail("timeout");
    await sleep(Math.min(left, 10));
  }
}
const capabilities = ["dict", "locks", "lock-renew", "clients"];
const operations = {
  "init": ({ database }) => {
    fs.mkdirSync((root = database), { recursive: true });
    return { protocol: 1, name: "folder", version: "1", capabilities };
  },
  "open": () => null,
  "close": ({ client }) => {
    for (const [holder, file] of held)
      if (holder.startsWith(`${client} `)) setEnd(file, 0), held.delete(holder);
  },
  "dict-get": (at) => unless("ENOENT", () => JSON.parse(fs.readFileSync(valueFile(at))), null),
  "dict-set": (at) => fs.renameSync(draft(JSON.stringify(at.value), valueFile(at)), valueFile(at)),
  "dict-delete": (at) => unless("ENOENT", () => (fs.unlinkSync(valueFile(at)), true), false),
  "lock-acquire": acquire,
  "lock-renew": (of) => {
    setEnd(ownGrant(of), of.ttl_ms);
    ownGrant(of); // somebody may have come in between
  },
  "lock-release": (of) => {
    try { setEnd(ownGrant(of), 0); } finally { held.delete(`${of.client} ${of.lock}`); }
  },
};
createInterface({ input: process.stdin }).on("close", () => process.exit()).on("line", async (line) => {
  const request = JSON.parse(line);
  const answer = (what) => console.log(JSON.stringify({ id: request.id, ...what }));
  try {
    const operate = operations[request.op] ?? (() => fail("unsupported"));
    answer({ ok: (await operate(request)) ?? null });
  } catch (error) {
    answer({ error: error.error ?? "failed", message: error.message });
  }
});
