// The page: makes timelines when they come into sight, and wires violations and copy buttons to them.

const timelines = new Map();

function timelineOf(host) {
  if (!timelines.has(host)) {
    const data = JSON.parse(document.getElementById(host.dataset.source).textContent);
    timelines.set(host, data ? new Timeline(host, data) : null);
  }
  return timelines.get(host);
}

const inSight = new IntersectionObserver(entries => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    inSight.unobserve(entry.target);
    ready(entry.target);
  }
}, { rootMargin: "200px" });

function ready(host) {
  const timeline = timelineOf(host);
  if (!timeline) return;
  const items = [...host.closest(".program").querySelectorAll(".violation")];
  timeline.onChoose = chosen => {
    for (const item of items) {
      const is = Boolean(chosen) && Number(item.dataset.check) === chosen[0] && Number(item.dataset.violation) === chosen[1];
      item.classList.toggle("chosen", is);
    }
  };
}

for (const host of document.querySelectorAll(".timeline")) inSight.observe(host);

for (const item of document.querySelectorAll(".violation")) {
  const host = item.closest(".program").querySelector(".timeline");
  const show = () => {
    ready(host);
    const timeline = timelines.get(host);
    if (!timeline) return;
    timeline.choose(Number(item.dataset.check), Number(item.dataset.violation));
    timeline.host.scrollIntoView({ block: "nearest", behavior: still.matches ? "auto" : "smooth" });
  };
  item.classList.add("live");
  const button = item.querySelector("button.show");
  button.hidden = false;
  button.addEventListener("click", () => { show(); timelines.get(host)?.canvas.focus({ preventScroll: true }); });
  item.addEventListener("click", event => {
    // Not for whoever marks text, or unfolds the operations.
    if (event.target.closest("button, details") || String(getSelection())) return;
    show();
  });
}

for (const button of document.querySelectorAll("button.copy")) {
  const text = button.parentElement.querySelector("code");
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(text);
      button.textContent = "Marked: copy it";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2_000);
  });
}

function unfold() {
  const target = location.hash.startsWith("#program-") && document.getElementById(location.hash.slice(1));
  if (!target) return;
  target.querySelector("details").open = true;
  target.scrollIntoView();
}
addEventListener("hashchange", unfold);
unfold();
