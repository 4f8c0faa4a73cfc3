// A complete driver, see ../PROTOCOL.md: dictionaries and locks in a folder, for any number of
// processes. Each value is a file, replaced by renaming. The grants of a lock are files numbered
// from 1: whoever creates the next number holds it, until the file's time is past or the process
// that it names is gone. They are never removed, so that no number is created twice.
import fs from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

let root, drafts = 0;
const grants = new Map(); // "client lock" to the file of the grant that the client holds
const newest = new Map(); // lock to the highest number that was seen
const hex = (text) => "=" + Buffer.from(text).toString("hex"); // any name makes a file name
const valueFile = ({ name, key }) => path.join(root, "dict", hex(name), hex(key));
const grantFile = (lock, number) => path.join(root, "lock", hex(lock), String(number));
const fail = (code) => { throw Object.assign(new Error(code), { code }); };
function unless(code, action, otherwise) {
  try { return action(); } catch (error) { if (error.code === code) return otherwise; throw error; }
}
function draft(text, file) { // written in full before it appears as `file`
  fs.mkdirSync(path.dirname(file), { recursive: true });
  const written = path.join(root, `draft-${process.pid}-${drafts++}`);
  fs.writeFileSync(written, text);
  return written;
}
const setEnd = (file, ttl_ms) => fs.utimesSync(file, new Date(), new Date(Date.now() + ttl_ms));
function isOver(file) {
  const pid = Number(fs.readFileSync(file));
  return fs.statSync(file).mtimeMs <= Date.now() || !unless("ESRCH", () => process.kill(pid, 0), false);
}
async function acquire({ client, lock, timeout_ms, ttl_ms }) {
  if (grants.has(`${client} ${lock}`)) fail("already-held");
  for (const start = performance.now(); ; await sleep(10)) {
    let number = newest.get(lock) ?? 0;
    while (fs.existsSync(grantFile(lock, number + 1))) newest.set(lock, ++number);
    if (number === 0 || isOver(grantFile(lock, number))) {
      const next = grantFile(lock, number + 1), mine = draft(String(process.pid), next);
      setEnd(mine, ttl_ms ?? 60_000);
      const isFirst = unless("EEXIST", () => !fs.linkSync(mine, next), false);
      fs.unlinkSync(mine);
      if (isFirst) return grants.set(`${client} ${lock}`, next), { token: number + 1 };
    }
    if (timeout_ms != null && performance.now() - start >= timeout_ms) fail("timeout");
  }
}
function release({ client, lock }) {
  const file = grants.get(`${client} ${lock}`) ?? fail("not-held");
  grants.delete(`${client} ${lock}`);
  if (fs.existsSync(grantFile(lock, Number(path.basename(file)) + 1))) fail("lock-lost");
  setEnd(file, 0);
}
const operations = {
  "init": ({ database }) => (fs.mkdirSync((root = database), { recursive: true }),
    { protocol: 1, name: "folder", version: "1", capabilities: ["dict", "locks", "clients"] }),
  "open": () => null,
  "close": ({ client }) => grants.forEach((file, held) =>
    held.startsWith(`${client} `) && (setEnd(file, 0), grants.delete(held))),
  "dict-get": (of) => unless("ENOENT", () => JSON.parse(fs.readFileSync(valueFile(of))), null),
  "dict-set": (of) => fs.renameSync(draft(JSON.stringify(of.value), valueFile(of)), valueFile(of)),
  "dict-delete": (of) => unless("ENOENT", () => !fs.unlinkSync(valueFile(of)), false),
  "lock-acquire": acquire,
  "lock-release": release,
};
createInterface({ input: process.stdin }).on("close", () => process.exit()).on("line", async (line) => {
  const { id, op, ...fields } = JSON.parse(line);
  const answer = (what) => console.log(JSON.stringify({ id, ...what }));
  if (!operations[op]) return answer({ error: "unsupported" });
  try {
    answer({ ok: (await operations[op](fields)) ?? null });
  } catch ({ code, message }) { // ours are the protocol's codes; Node's own are written in capitals
    answer({ error: /^[a-z-]+$/.test(code) ? code : "failed", message });
  }
});
