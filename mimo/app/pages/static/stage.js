// A large frame to click or paint on: who the person is, where the mask is wrong, where feet stand.
"use strict";
(() => {
  const { layers, mount, say, words } = window.mimo;
  const COLOURS = { person: "#31d07c", other: "#ff5a4d", place: "#ffd23f" };
  const PERSON = 255, OTHER = 0, UNTOUCHED = 128;

  // Points are kept in pixels of the video or picture, whatever size is shown.
  class Stage {
    constructor(element, chosen) {
      this.element = element;
      this.plate = element.querySelector(".plate");
      this.canvas = element.querySelector("canvas");
      this.pen = this.canvas.getContext("2d", { willReadFrequently: true });
      this.chosen = chosen;
      this.brush = 0;
      this.paint = "person";
      this.marks = [];
      this.strokes = document.createElement("canvas");
      this.cross = null;
      const { canvas } = this;
      canvas.addEventListener("pointerdown", (event) => this.down(event));
      canvas.addEventListener("pointermove", (event) => this.move(event));
      for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, () => { this.last = null; });
      canvas.addEventListener("pointerleave", () => { this.pointer = null; this.draw(); });
      canvas.addEventListener("keydown", (event) => this.key(event));
      canvas.addEventListener("blur", () => { this.cross = null; this.draw(); });
    }

    // Show a picture or video that stands for width × height pixels.
    show(media, width, height) {
      this.plate.querySelector("video, img")?.remove();
      this.plate.prepend(media);
      this.plate.style.width = `min(100%, calc(var(--tall, min(64vh, 620px)) * ${width / height}))`;
      const shrink = Math.min(1, 1280 / Math.max(width, height));
      for (const canvas of [this.canvas, this.strokes]) {
        canvas.width = Math.round(width * shrink);
        canvas.height = Math.round(height * shrink);
      }
      this.width = width;
      this.height = height;
      this.draw();
    }

    place(event) {
      const box = this.canvas.getBoundingClientRect();
      const share = (at, from, length) => Math.min(0.99999, Math.max(0, (at - from) / length));
      return [share(event.clientX, box.left, box.width) * this.width, share(event.clientY, box.top, box.height) * this.height];
    }

    scaled([x, y]) { return [x / this.width * this.canvas.width, y / this.height * this.canvas.height]; }

    down(event) {
      event.preventDefault();
      this.canvas.focus({ preventScroll: true });
      this.canvas.setPointerCapture(event.pointerId);
      this.cross = null;
      this.press(this.place(event));
    }

    press(point) {
      if (this.brush) { this.last = point; this.stroke(point, point); } else this.chosen(...point);
    }

    move(event) {
      this.pointer = this.place(event);
      if (this.brush && this.last) { this.stroke(this.last, this.pointer); this.last = this.pointer; }
      this.draw();
    }

    // Arrows move a cross, Enter is a click there.
    key(event) {
      const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      if (event.key in steps) {
        const length = Math.max(this.width, this.height) * (event.shiftKey ? 0.05 : 0.01);
        const [x, y] = this.cross ?? [this.width / 2, this.height / 2];
        const [dx, dy] = steps[event.key];
        this.cross = [Math.min(this.width - 1, Math.max(0, x + dx * length)), Math.min(this.height - 1, Math.max(0, y + dy * length))];
      } else if ((event.key === "Enter" || event.key === " ") && this.cross) {
        this.press(this.cross);
        this.last = null;
      } else return;
      event.preventDefault();
      this.draw();
    }

    stroke(from, to) {
      const pen = this.strokes.getContext("2d");
      pen.strokeStyle = COLOURS[this.paint];
      pen.lineCap = "round";
      pen.lineWidth = this.brush * this.canvas.width / this.width;
      pen.beginPath();
      const [x, y] = this.scaled(to);
      pen.moveTo(...this.scaled(from));
      pen.lineTo(x + 0.01, y);  // a line without length would not be drawn
      pen.stroke();
      this.painted = true;
      this.draw();
    }

    wipe() {
      this.strokes.getContext("2d").clearRect(0, 0, this.strokes.width, this.strokes.height);
      this.painted = false;
      this.draw();
    }

    draw() {
      const { pen, canvas } = this;
      const unit = canvas.width / (canvas.clientWidth || canvas.width);
      pen.clearRect(0, 0, canvas.width, canvas.height);
      pen.globalAlpha = 0.55;
      pen.drawImage(this.strokes, 0, 0);
      pen.globalAlpha = 1;
      this.also?.();
      for (const { at, colour } of this.marks) this.ring(at, 6 * unit, COLOURS[colour], true);
      if (this.brush && this.pointer) this.ring(this.pointer, this.brush / 2 * canvas.width / this.width, COLOURS[this.paint]);
      if (this.cross) {
        this.ring(this.cross, 9 * unit, "#fff");
        this.ring(this.cross, 1.5 * unit, "#fff", true);
      }
    }

    line(from, to) {
      const { pen } = this;
      pen.beginPath();
      pen.moveTo(...this.scaled(from));
      pen.lineTo(...this.scaled(to));
      pen.lineWidth = this.canvas.width / (this.canvas.clientWidth || this.canvas.width) * 2;
      pen.strokeStyle = COLOURS.place;
      pen.stroke();
    }

    ring(at, radius, colour, filled) {
      const { pen } = this;
      pen.beginPath();
      pen.arc(...this.scaled(at), radius, 0, 2 * Math.PI);
      if (filled) { pen.fillStyle = colour; pen.fill(); }
      pen.lineWidth = this.canvas.width / (this.canvas.clientWidth || this.canvas.width) * 2;
      pen.strokeStyle = filled ? "#fff" : colour;
      pen.stroke();
    }

    // Grey PNG in full size: white the person, black not the person, grey untouched.
    picture() {
      const { width, height } = this;
      const sheet = document.createElement("canvas");
      Object.assign(sheet, { width, height });
      const pen = sheet.getContext("2d");
      pen.imageSmoothingEnabled = false;
      pen.drawImage(this.strokes, 0, 0, width, height);
      const image = pen.getImageData(0, 0, width, height);
      const { data } = image;
      for (let i = 0; i < data.length; i += 4) {
        const value = data[i + 3] < 128 ? UNTOUCHED : data[i] < data[i + 1] ? PERSON : OTHER;
        data[i] = data[i + 1] = data[i + 2] = value;
        data[i + 3] = 255;
      }
      pen.putImageData(image, 0, 0);
      return new Promise((done) => sheet.toBlob(done, "image/png"));
    }
  }

  // ---- Correcting: tools beside a frame of the layers ----
  const HELP = {
    subject: "Click on the person to follow. Go to a frame in which they are seen well.",
    add: "Click where the person is, but the mask misses it.",
    remove: "Click where the mask takes something that is not the person.",
    brush: "Paint over the person where the mask misses them.",
    erase: "Paint over what is not the person.",
  };

  function corrections(element, tell, watch) {
    const act = (data) => tell({ frame: layers.frame, ...data });
    mount(element, act, watch);
    const bench = element.querySelector("[data-bench]");
    const stage = new Stage(element.querySelector(".stage"), (x, y) => click(x, y));
    const width = element.querySelector("[data-brush]");
    let tool = "", shown = "";
    const painting = () => tool === "brush" || tool === "erase";

    function click(x, y) {
      const at = { x: Math.round(x * 10) / 10, y: Math.round(y * 10) / 10 };
      if (tool === "subject") { stage.marks = [{ at: [x, y], colour: "place" }]; act({ do: "subject", ...at }); }
      else act({ do: "click", person: tool === "add", ...at });
      stage.draw();
    }

    // The painted mask lies in the project before the page hears of it.
    async function keep() {
      const { corrections: address } = layers.root.dataset, { frame } = layers;
      if (!stage.painted || !address) return;
      const body = await stage.picture();
      const request = new XMLHttpRequest();
      request.open("POST", `${address}${frame}`);
      request.onload = () => {
        const answer = words(request);
        say(element, answer.error ?? "", answer.error);
        if (!answer.error) { stage.wipe(); act({ do: "painted", frame }); }
      };
      request.onerror = () => say(element, "The connection broke. Try again.", true);
      request.send(body);
    }

    function choose(name) {
      tool = tool === name ? "" : name;
      layers.stop();
      stage.wipe();
      update();
      if (tool) stage.canvas.focus({ preventScroll: true });
    }

    // What the stage shows: the mask where there is one, but the plain video to choose a person in.
    function media() {
      const videos = layers.videos();
      const layer = (tool !== "subject" && videos.find((video) => video.dataset.layer === "mask")) || videos[0];
      if (!layer || layer.src === shown) return;
      shown = layer.src;
      const video = document.createElement("video");
      Object.assign(video, { src: layer.src, muted: true, playsInline: true, preload: "auto" });
      video.dataset.frame = "";
      video.onloadeddata = () => { layers.seek(video); stage.draw(); };
      stage.show(video, Number(layers.root.dataset.width), Number(layers.root.dataset.height));
    }

    function update() {
      const ready = layers.root?.dataset.corrections && layers.videos().length > 0;
      element.hidden = !ready;
      if (!ready) return;
      const masked = layers.videos().some((video) => video.dataset.layer === "mask");
      for (const button of element.querySelectorAll("[data-tool]")) {
        button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
        button.disabled = button.dataset.tool !== "subject" && !masked;
      }
      bench.hidden = !tool;
      element.querySelector("[data-help]").textContent = HELP[tool] ?? "";
      element.querySelectorAll("[data-painting]").forEach((part) => { part.hidden = !painting(); });
      element.querySelectorAll("[data-corrected]").forEach((part) => { part.hidden = tool === "subject"; });
      if (!tool) return;
      media();
      stage.brush = painting() ? Number(width.value) / 100 * Math.min(stage.width, stage.height) : 0;
      stage.paint = tool === "erase" ? "other" : "person";
      const marks = JSON.parse(layers.root.dataset.marks || "[]").filter((mark) => mark.frame === layers.frame);
      if (tool !== "subject") stage.marks = marks.map(({ x, y, person }) => ({ at: [x, y], colour: person ? "person" : "other" }));
      const video = stage.plate.querySelector("video");
      if (video) layers.seek(video);
      stage.draw();
    }

    let frame = 0, clip = "";
    layers.listeners.add(() => {
      if (clip !== layers.clip) { clip = layers.clip; tool = ""; shown = ""; }
      if (frame !== layers.frame) { frame = layers.frame; if (stage.painted) stage.wipe(); if (tool === "subject") stage.marks = []; }
      update();
    });
    element.addEventListener("click", (event) => {
      const pressed = event.target.closest("[data-tool], [data-apply], [data-wipe]");
      if (!pressed) return;
      if ("tool" in pressed.dataset) choose(pressed.dataset.tool);
      else if ("wipe" in pressed.dataset) stage.wipe();
      else keep();
    });
    width.addEventListener("input", update);
    document.addEventListener("drawn", update);
    update();
  }

  // ---- Placing: where feet begin in the scene ----
  function placement(element, act, watch) {
    mount(element, act, watch);
    const stage = new Stage(element.querySelector(".stage"), (x, y) => {
      stage.marks = [{ at: [x, y], colour: "place" }];
      stage.draw();
      act({ do: "feet", x: Math.round(x * 10) / 10, y: Math.round(y * 10) / 10 });
    });
    let shown = "", told = {};
    stage.also = () => {
      const { at, height, horizon } = told;
      if (horizon !== null) stage.line([0, horizon * stage.height], [stage.width, horizon * stage.height]);
      if (at && height !== null) stage.line(at, [at[0], at[1] - height * stage.height]);
    };
    function update() {
      const ground = document.querySelector("[data-ground]")?.dataset;
      element.hidden = !ground;
      if (!ground) return;
      told = JSON.parse(ground.ground);
      stage.marks = told.at ? [{ at: told.at, colour: "place" }] : [];
      for (const slider of element.querySelectorAll("input[data-change]")) {
        const value = told[slider.dataset.change];
        if (slider !== document.activeElement) slider.value = value ?? slider.dataset.start;
        slider.nextElementSibling.textContent = value ?? "auto";
      }
      if (ground.scene !== shown) {
        const image = new Image();
        image.alt = "The scene";
        image.onload = () => stage.show(image, Number(ground.width), Number(ground.height));
        image.src = shown = ground.scene;
      } else stage.draw();
    }
    element.addEventListener("input", ({ target }) => {
      if (!target.dataset.change) return;
      told[target.dataset.change] = Number(target.value);
      target.nextElementSibling.textContent = target.value;
      stage.draw();
    });
    document.addEventListener("drawn", update);
    update();
  }

  Object.assign(window.mimo, { corrections, placement });
})();
