// What the page does by itself: files are sent, layers move together, a frame is clicked or painted on.
// Markup comes from the server; elements say by data-do what a click on them asks the server for.
"use strict";
(() => {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const seen = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries)
      if (isIntersecting && !still) target.play().catch(() => {}); else target.pause();
  });
  const watched = new WeakSet();

  // Moving previews play while they are seen.
  function observe(root) {
    for (const video of root.querySelectorAll("video[data-loop]"))
      if (!watched.has(video)) { watched.add(video); video.muted = true; seen.observe(video); }
  }

  function say(zone, words, bad) {
    const said = zone.querySelector(".said");
    said.textContent = words;
    said.classList.toggle("bad", Boolean(bad));
  }

  const size = (bytes) => bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;

  // One file after the other; the server's words say why one was refused.
  async function send(zone, files, done) {
    const bar = zone.querySelector("progress");
    for (const file of files) {
      bar.hidden = false;
      bar.value = 0;
      say(zone, `${file.name} (${size(file.size)}) is being sent…`);
      const answer = await new Promise((finish) => {
        const request = new XMLHttpRequest();
        request.open("POST", `${zone.dataset.upload}?name=${encodeURIComponent(file.name)}`);
        request.upload.onprogress = (event) => { bar.value = event.loaded / event.total; };
        request.onload = () => finish(words(request));
        request.onerror = () => finish({ error: "The connection broke. Try again." });
        request.send(file);
      });
      bar.hidden = true;
      say(zone, answer.error ? `${file.name}: ${answer.error}` : "", answer.error);
      if (!answer.error) done(zone.dataset.kind, answer.name);
    }
  }

  function words(request) {
    try { return JSON.parse(request.responseText); } catch { /* not ours: a proxy's page, for example */ }
    return request.status < 300 ? { error: "The server's answer was not understood." }
      : { error: `The server refused it (${request.status}).` };
  }

  // Events of one piece of markup. `act` tells the server; "drawn" tells the document that it has answered.
  function mount(element, act, watch) {
    element.classList.add("mimo");
    element.addEventListener("click", (event) => {
      const button = event.target.closest("[data-do]");
      if (!button || !element.contains(button) || button.disabled) return;
      const { ask, ...data } = button.dataset;
      if (!ask || confirm(ask)) act(data);
    });
    element.addEventListener("change", (event) => {
      const { target } = event;
      const zone = target.closest("[data-upload]");
      if (zone && target.type === "file") {
        send(zone, [...target.files], (kind, name) => act({ do: "uploaded", kind, name }));
        target.value = "";
      } else if (target.dataset.change) act({ do: target.dataset.change, value: target.value });
    });
    for (const kind of ["dragover", "dragleave", "drop"])
      element.addEventListener(kind, (event) => {
        const zone = event.target.closest("[data-upload]");
        if (!zone) return;
        event.preventDefault();
        zone.classList.toggle("over", kind === "dragover");
        if (kind === "drop") send(zone, [...event.dataTransfer.files], (what, name) => act({ do: "uploaded", kind: what, name }));
      });
    const drawn = () => {
      observe(element);
      element.querySelectorAll("[data-layers]").forEach(layers.attach);
      document.dispatchEvent(new Event("drawn"));
    };
    watch("value", drawn);
    drawn();
  }

  // ---- Layers: any number of videos of one clip, at one frame ----
  const layers = {
    root: null, clip: "", frame: 0, playing: false, listeners: new Set(),
    get fps() { return Number(this.root.dataset.fps); },
    get frames() { return Number(this.root.dataset.frames); },
    videos() { return this.root ? [...this.root.querySelectorAll("video[data-layer]")] : []; },
    attach(root) {
      if (layers.root !== root) {
        root.addEventListener("input", (event) => {
          if (event.target.type !== "range") return;
          const frame = Number(event.target.value);
          layers.stop();
          layers.show(frame);
        });
        root.addEventListener("click", (event) => { if (event.target.closest("[data-play]")) layers.toggle(); });
      }
      layers.root = root;
      if (layers.clip !== root.dataset.clip) { layers.clip = root.dataset.clip; layers.frame = 0; layers.playing = false; }
      for (const video of layers.videos())
        video.onloadeddata = () => { if (!layers.playing) layers.seek(video); };
      layers.show(Math.min(layers.frame, Math.max(0, layers.frames - 1)));
    },
    // The middle of a frame: rounding cannot show a neighbour.
    seek(video) { if (video.readyState) video.currentTime = (layers.frame + 0.5) / layers.fps; },
    show(frame) { layers.frame = frame; layers.videos().forEach(layers.seek); layers.tell(); },
    tell() {
      const slider = layers.root.querySelector("input[type=range]");
      if (slider) {
        slider.value = layers.frame;
        slider.setAttribute("aria-valuetext", `frame ${layers.frame + 1} of ${layers.frames}`);
        layers.root.querySelector("[data-time]").textContent = `${layers.frame + 1} / ${layers.frames}`;
        layers.root.querySelector("[data-play]").textContent = layers.playing ? "Pause" : "Play";
      }
      layers.listeners.forEach((listener) => listener());
    },
    toggle() { if (layers.playing) layers.stop(); else layers.play(); },
    stop() {
      layers.playing = false;
      layers.videos().forEach((video) => video.pause());
      layers.show(layers.frame);
    },
    play() {
      const [first, ...others] = layers.videos();
      if (!first) return;
      layers.playing = true;
      if (layers.frame >= layers.frames - 1) layers.show(0);
      layers.videos().forEach((video) => video.play().catch(() => {}));
      const step = () => {
        if (!layers.playing) return;
        if (first.ended) { layers.videos().forEach((video) => { video.currentTime = 0; video.play().catch(() => {}); }); }
        for (const video of others)
          if (Math.abs(video.currentTime - first.currentTime) > 1.5 / layers.fps) video.currentTime = first.currentTime;
        layers.frame = Math.min(layers.frames - 1, Math.floor(first.currentTime * layers.fps));
        layers.tell();
        requestAnimationFrame(step);
      };
      requestAnimationFrame(step);
    },
  };

  window.mimo = { mount, layers, say, words };
})();
