"use strict";
(() => {
  // Sorting, filtering, opening of rows and previews. Without it the page still shows everything.
  const table = document.getElementById("table");
  const items = [...table.querySelectorAll(":scope > tbody")];
  const form = document.querySelector(".controls");
  const search = document.getElementById("search");
  const STATES = ["failed", "running", "done", "waiting", "blocked"];
  const original = new Map(items.map((item, place) => [item, place]));
  const words = (item) => [...item.rows[0].querySelectorAll("th, .flags")].map((cell) => cell.textContent).join(" ");
  const texts = new Map(items.map((item) => [item, words(item).toLowerCase()]));
  document.documentElement.classList.add("js");

  const pressed = (group) =>
    [...form.querySelectorAll(`[data-group=${group}] [aria-pressed=true]`)].map((button) => button.value);

  function filter() {
    const wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const kinds = pressed("kind"), states = pressed("state"), flags = pressed("flags");
    let shown = 0;
    for (const item of items) {
      const { kind, state } = item.dataset;
      const raised = item.dataset.flags.split(" ");
      const fits = (!kinds.length || kinds.includes(kind)) && (!states.length || states.includes(state))
        && (!flags.length || flags.some((flag) => raised.includes(flag)))
        && wanted.every((word) => texts.get(item).includes(word));
      item.hidden = !fits;
      shown += fits;
    }
    document.getElementById("shown").textContent = `${shown} of ${items.length} rows`;
    document.querySelector(".nothing").hidden = shown > 0;
  }

  function clear() {
    search.value = "";
    for (const button of form.querySelectorAll("[data-group] button")) button.setAttribute("aria-pressed", "false");
    filter();
  }

  form.addEventListener("click", (event) => {
    const button = event.target.closest("button[value]");
    if (!button) return;
    if (button.closest("[data-view]")) {
      for (const other of button.parentNode.children) other.setAttribute("aria-pressed", String(other === button));
      table.classList.toggle("wall", button.value === "wall");
      return;
    }
    button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
    filter();
  });
  form.addEventListener("reset", (event) => { event.preventDefault(); clear(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  document.querySelector(".nothing .clear").addEventListener("click", clear);
  search.addEventListener("input", filter);

  // Sorting: text by name, numbers by size, what has no number last; the third click restores the first order.
  const value = (item, key) => {
    if (key === "name") return item.dataset.name;
    if (key === "state") return STATES.indexOf(item.dataset.state);
    return item.dataset[key] === "" ? null : Number(item.dataset[key]);
  };
  const byName = new Intl.Collator(undefined, { numeric: true }).compare;

  function sort(key, direction) {
    const sorted = [...items].sort((one, other) => {
      const a = value(one, key), b = value(other, key);
      if (direction === "none" || a === b) return original.get(one) - original.get(other);
      if (a === null || b === null) return a === null ? 1 : -1;
      const order = key === "name" ? byName(a, b) : a - b;
      return (direction === "descending" ? -order : order) || original.get(one) - original.get(other);
    });
    table.append(...sorted);
  }

  for (const head of table.querySelectorAll("th[data-sort]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const numbers = head.classList.contains("n") || head.dataset.sort === "raised";
      const steps = numbers ? ["none", "descending", "ascending"] : ["none", "ascending", "descending"];
      const next = steps[(steps.indexOf(head.getAttribute("aria-sort")) + 1) % 3];
      for (const other of table.querySelectorAll("th[data-sort]")) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", next);
      sort(head.dataset.sort, next);
    });
  }

  // Rows open in place; a link to a row (also from outside) opens it and brings it into view.
  function open(item, wanted) {
    item.classList.toggle("open", wanted);
    item.querySelector(".open").setAttribute("aria-expanded", String(wanted));
    const video = item.querySelector(".media video");
    const picture = item.querySelector(".pic img");
    if (video && wanted) {
      if (picture && !video.poster) video.poster = picture.src;
      video.preload = "metadata";
    }
    if (video && !wanted) video.pause();
  }
  for (const item of items) item.querySelector(".open").setAttribute("aria-expanded", "false");

  function show(item) {
    if (item.hidden) clear();
    open(item, true);
    item.scrollIntoView({ block: "start" });
    item.querySelector("a.open").focus({ preventScroll: true });
  }
  const linked = () => items.find((item) => item.id === location.hash.slice(1));
  if (linked()) show(linked());
  window.addEventListener("hashchange", () => linked() && show(linked()));

  document.addEventListener("click", (event) => {
    const copy = event.target.closest("[data-copy]");
    if (copy) return void copyText(copy);
    const link = event.target.closest('a[href^="#r"]');
    const item = link && document.getElementById(link.getAttribute("href").slice(1));
    if (!item || !items.includes(item)) return;
    event.preventDefault();
    if (link.closest(".row") && link.closest(".item") === item) open(item, !item.classList.contains("open"));
    else show(item);
  });

  table.addEventListener("keydown", (event) => {
    const item = event.target.matches("a.open") && event.target.closest(".item");
    if (!item || !["ArrowDown", "ArrowUp"].includes(event.key)) return;
    const step = event.key === "ArrowDown" ? "nextElementSibling" : "previousElementSibling";
    let next = item[step];
    while (next && next.hidden) next = next[step];
    if (next && next.matches(".item")) { event.preventDefault(); next.querySelector("a.open").focus(); }
  });

  async function copyText(button) {
    const area = document.createElement("textarea");
    area.value = button.dataset.copy;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");  // the clipboard's own interface is closed to pages from a file
    area.remove();
    button.textContent = done ? "copied" : "press Ctrl-C";
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  }

  // A browser that cannot play data addresses gets the same bytes as a blob.
  document.addEventListener("error", (event) => {
    const source = event.target;
    if (!(source instanceof HTMLSourceElement) || !source.src.startsWith("data:")) return;
    const bytes = Uint8Array.from(atob(source.src.split(",")[1]), (sign) => sign.charCodeAt(0));
    source.parentNode.src = URL.createObjectURL(new Blob([bytes], { type: source.type }));
  }, true);

  // Pointing at a picture plays its preview in its place.
  const still = matchMedia("(prefers-reduced-motion: reduce)"), pointing = matchMedia("(hover: hover)");
  let playing = null;
  const stop = () => { if (playing) { playing.remove(); playing = null; } };
  table.addEventListener("pointerover", (event) => {
    const frame = event.target.closest(".pic a");
    if (!frame || still.matches || !pointing.matches) return void stop();
    if (playing && frame.contains(playing)) return;
    stop();
    const source = frame.closest(".item").querySelector("source");
    if (!source) return;
    playing = Object.assign(document.createElement("video"), { muted: true, loop: true, autoplay: true, playsInline: true, src: source.src });
    frame.append(playing);
  });
  table.addEventListener("pointerleave", stop);

  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.target.matches("input, textarea")) return;
    event.preventDefault();
    search.focus();
  });
  filter();
})();
