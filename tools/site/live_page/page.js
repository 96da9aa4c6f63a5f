const get = (id) => document.getElementById(id);
const facts = JSON.parse(get("facts").textContent);
const LIVE = facts.live.length; // units of s that the decoder uses
const WIDTH = LIVE + facts.rank; // numbers that it reads for each frame: s, then d
const LENGTH = 8; // frames of a film
const LAST = 20; // predictions of digits before the film starts again
const COLOURS = [[255, 179, 26], [38, 153, 242]]; // of two digits
const NETWORKS = ["decoder", "prior", "digits"];

/* ---- The engine ---------------------------------------------------------------------------- */

const waiting = new Map(); // the promises of runs that are not done
const loading = {}; // of each network, when it can run
let worker;
let runs = 0;

function startEngine() {
  const source = [get("engine").textContent, get("worker").textContent].join("\n;\n");
  worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  worker.onmessage = ({ data }) => {
    if (data.loaded) return loading[data.loaded].resolve();
    if (data.error) say(`The model does not run in this browser: ${data.error}`, true);
    waiting.get(data.id)?.(data);
    waiting.delete(data.id);
  };
  worker.onerror = (event) => say(`The model does not run in this browser: ${event.message}`, true);
  const models = {};
  for (const name of NETWORKS) models[name] = get(name).textContent;
  worker.postMessage({ wasm: get("wasm").textContent, module: get("module").textContent, models });
}

for (const name of NETWORKS) {
  loading[name] = {};
  loading[name].promise = new Promise((resolve) => (loading[name].resolve = resolve));
}

/** The outputs of a network, by name, for numbers of a shape. */
async function run(name, values, shape) {
  await loading[name].promise;
  const id = ++runs;
  const answer = new Promise((resolve) => waiting.set(id, resolve));
  worker.postMessage({ id, name, values, shape });
  const { outputs, error } = await answer;
  if (error) throw new Error(error);
  return outputs;
}

/* ---- Codes --------------------------------------------------------------------------------- */

let clipCodes; // of each clip: { s: 12 numbers, d: 8 x 64 numbers }
let digitCodes; // of each clip of digits: its last latents

async function readCodes() {
  const packed = await fetch("data:application/octet-stream;base64," + get("codes").textContent);
  const stream = packed.body.pipeThrough(new DecompressionStream("gzip"));
  const numbers = new Float32Array(await new Response(stream).arrayBuffer());
  const size = LENGTH * WIDTH;
  const split = facts.clips.length * size;
  clipCodes = facts.clips.map((_, n) => {
    const rows = [...Array(LENGTH).keys()].map((t) => n * size + t * WIDTH);
    const d = rows.flatMap((from) => [...numbers.subarray(from + LIVE, from + WIDTH)]);
    return { s: [...numbers.subarray(rows[0], rows[0] + LIVE)], d };
  });
  const latents = (numbers.length - split) / facts.digits.length;
  digitCodes = facts.digits.map((_, n) => {
    return numbers.slice(split + n * latents, split + (n + 1) * latents);
  });
}

/** The film that the model paints of codes s and d: 8 x 3 x 64 x 64 numbers from 0 to 1. */
async function decode({ s, d }) {
  const values = new Float32Array(LENGTH * WIDTH);
  for (let t = 0; t < LENGTH; t++) {
    values.set(s, t * WIDTH);
    values.set(d.slice(t * facts.rank, (t + 1) * facts.rank), t * WIDTH + LIVE);
  }
  return (await run("decoder", values, [LENGTH, WIDTH])).film;
}

/** Two sets of codes with the one of that name, "s" or "d", exchanged. */
function swap(a, b, name) {
  return [{ ...a, [name]: b[name] }, { ...b, [name]: a[name] }];
}

/** Standard normal numbers, by Box and Muller. */
function drawNormal(count) {
  return Float32Array.from({ length: count }, () => {
    const radius = Math.sqrt(-2 * Math.log(1 - Math.random()));
    return radius * Math.cos(2 * Math.PI * Math.random());
  });
}

/* ---- Films --------------------------------------------------------------------------------- */

const films = []; // { canvas, caption, frames }
let frame = 0;
let playing = !matchMedia("(prefers-reduced-motion: reduce)").matches;

function makeFilm(parent, size) {
  const figure = parent.appendChild(document.createElement("figure"));
  const canvas = figure.appendChild(document.createElement("canvas"));
  canvas.width = canvas.height = size;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "no film yet");
  const caption = figure.appendChild(document.createElement("figcaption"));
  const film = { canvas, caption, frames: [] };
  films.push(film);
  return film;
}

function show(film, frames, caption, label) {
  film.frames = frames;
  film.caption.innerHTML = caption;
  film.canvas.setAttribute("aria-label", label);
  draw(film);
}

function draw({ canvas, frames }) {
  if (frames.length) canvas.getContext("2d").putImageData(frames[frame % frames.length], 0, 0);
}

/** A clip as it is, from the picture of all clips. */
function realFrames(clip) {
  const canvas = document.createElement("canvas");
  canvas.width = LENGTH * 64;
  canvas.height = 64;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(get("atlas"), 0, -64 * clip);
  return [...Array(LENGTH).keys()].map((t) => context.getImageData(64 * t, 0, 64, 64));
}

/** Frames for the screen of what a decoder paints, (frames, 3, size, size). */
function toFrames(values, size, colours = [[255, 0, 0], [0, 255, 0], [0, 0, 255]]) {
  const area = size * size;
  return [...Array(values.length / (3 * area)).keys()].map((t) => {
    const picture = new ImageData(size, size);
    for (let i = 0; i < area; i++) {
      picture.data[4 * i + 3] = 255;
      for (let c = 0; c < 3; c++) {
        let sum = 0;
        colours.forEach((colour, plane) => (sum += colour[c] * values[(3 * t + plane) * area + i]));
        picture.data[4 * i + c] = Math.round(sum); // the array itself keeps it within 0 to 255
      }
    }
    return picture;
  });
}

function tick() {
  if (!playing) return;
  frame = (frame + 1) % LENGTH;
  document.documentElement.style.setProperty("--frame", frame);
  films.forEach(draw);
  if (latents && frame % 2) stepDigits();
}

function setPlaying(value) {
  playing = value;
  get("play").textContent = playing ? "Pause the films" : "Play the films";
}

/** A task that runs once at a time; of the calls that come meanwhile only the last one counts. */
function latest(task) {
  let busy = false;
  let again = false;
  return async () => {
    again = true;
    if (busy) return;
    busy = true;
    try {
      while (again) {
        again = false;
        await task();
      }
    } finally {
      busy = false;
    }
  };
}

/** Tell screen readers, and with `seen` everybody. */
function say(text, seen = false) {
  get("says").textContent = text;
  get("says").classList.toggle("heard", !seen);
}

function choose(name) {
  return document.querySelector(`input[name="${name}"]:checked`).value;
}

/* ---- 1 · Swap ------------------------------------------------------------------------------ */

const [filmA, filmB, swapA, swapB] = [1, 2, 3, 4].map(() => makeFilm(get("swap-films"), 64));
const chip = (code, of) => `<span class="${code}">${code} of ${of}</span>`;

function addThumbs(letter, checked) {
  facts.clips.forEach((text, clip) => {
    const input = document.createElement("input");
    Object.assign(input, { type: "radio", name: letter, value: clip, checked: clip === checked });
    input.setAttribute("aria-label", text);
    input.title = text;
    input.style.setProperty("--clip", clip);
    input.addEventListener("change", () => (letter === "A" ? (showSwap(), reset()) : showSwap()));
    get(`thumbs-${letter.toLowerCase()}`).append(input);
  });
}

function showOriginals(a, b) {
  show(filmA, realFrames(a), `<b>A</b>: ${chip("s", "A")}, ${chip("d", "A")}`, `Clip A: ${facts.clips[a]}`);
  show(filmB, realFrames(b), `<b>B</b>: ${chip("s", "B")}, ${chip("d", "B")}`, `Clip B: ${facts.clips[b]}`);
}

/* New donors are shown when their swaps are, so that all four films always belong together. */
const showSwap = latest(async () => {
  const [a, b, name] = [+choose("A"), +choose("B"), choose("code")];
  get("swap-films").classList.add("busy");
  const swapped = swap(clipCodes[a], clipCodes[b], name);
  const painted = [await decode(swapped[0]), await decode(swapped[1])];
  showOriginals(a, b);
  [swapA, swapB].forEach((film, n) => {
    const [own, donor] = n ? ["B", "A"] : ["A", "B"];
    const [s, d] = name === "s" ? [donor, own] : [own, donor];
    const caption = `<b>${own}, ${name} of ${donor}</b>: ${chip("s", s)}, ${chip("d", d)}`;
    const [who, how] = [s, d].map((letter) => facts.clips[letter === "A" ? a : b].split(": "));
    show(film, toFrames(painted[n], 64), caption, `Swap: ${who[0]}, as in ${s}; ${how[1]}, as in ${d}`);
  });
  get("swap-films").classList.remove("busy");
  const words = `A shows ${facts.clips[a]}; B shows ${facts.clips[b]}.`;
  say(`Shown: A with ${name} of B, and B with ${name} of A. ${words}`);
  document.body.dataset.shown = `${a} ${b} ${name}`;
});

/* ---- 2 · Drag, draw ------------------------------------------------------------------------ */

const dragFilm = makeFilm(get("drag-film"), 64);
const dragged = { s: [], d: [], from: ["clip A", "clip A"] };
const sliders = facts.live.map((unit) => {
  const label = document.createElement("label");
  const range = `<input type="range" min="-3.5" max="3.5" step="0.1" aria-label="unit ${unit} of s">`;
  label.innerHTML = `<span>unit ${unit}</span>${range}<output></output>`;
  get("sliders").append(label);
  const slider = label.querySelector("input");
  slider.addEventListener("input", () => {
    dragged.s = sliders.map((each) => +each.value);
    dragged.from[0] = "your sliders";
    setOutput(slider, +slider.value);
    showDragged();
  });
  return slider;
});

function setOutput(slider, value) {
  slider.nextElementSibling.textContent = (Math.round(10 * value) / 10 + 0).toFixed(1); // no -0.0
}

function setSliders() {
  sliders.forEach((slider, n) => {
    slider.value = dragged.s[n];
    setOutput(slider, dragged.s[n]);
  });
}

const showDragged = latest(async () => {
  const codes = { s: [...dragged.s], d: [...dragged.d] };
  const [s, d] = dragged.from;
  const painted = await decode(codes);
  const text = `s of ${s}, d of ${d}`;
  const caption = `<span class="s">s of ${s}</span>, <span class="d">d of ${d}</span>`;
  show(dragFilm, toFrames(painted, 64), caption, `A film that the model paints: ${text}`);
  if (document.activeElement.closest("section")?.contains(dragFilm.canvas)) say(`Shown: ${text}.`);
});

function reset() {
  const { s, d } = clipCodes[+choose("A")];
  Object.assign(dragged, { s: [...s], d: [...d], from: ["clip A", "clip A"] });
  setSliders();
  return showDragged();
}

function drawS() {
  dragged.s = [...drawNormal(LIVE)];
  dragged.from[0] = "N(0, I)";
  setSliders();
  return showDragged();
}

async function drawD() {
  const { directions } = await run("prior", drawNormal(LENGTH * 256), [1, LENGTH, 256]);
  dragged.d = [...directions];
  dragged.from[1] = "the prior";
  return showDragged();
}

/* ---- 3 · Two digits ------------------------------------------------------------------------ */

const digitFilm = makeFilm(get("digit-film"), 32);
let latents; // of both factors, one after the other
let predicted = 0; // frames since the clip ended

function isFrozen(factor) {
  return document.querySelector(`input[name="freeze"][value="${factor}"]`).checked;
}

/** The latents with `next` in the place of every factor that is not frozen. */
function moveOn(now, next) {
  const size = now.length / 2;
  return now.map((value, unit) => (isFrozen(Math.floor(unit / size)) ? value : next[unit]));
}

const stepDigits = latest(async () => {
  const before = latents;
  const { picture, next } = await run("digits", before, [1, before.length]);
  if (latents !== before) return; // Another clip was chosen meanwhile.
  const [first, second] = facts.digits[+choose("digits")];
  const states = [0, 1].map((factor) => (isFrozen(factor) ? "is frozen" : "goes on"));
  const caption = `<span class="digit0">factor 0</span> ${states[0]}, <span class="digit1">factor 1</span> ${states[1]}`;
  const label = `An orange ${first}, of factor 0, ${states[0]}; a blue ${second}, of factor 1, ${states[1]}`;
  digitFilm.frames = toFrames(picture, 32, COLOURS);
  draw(digitFilm);
  if (digitFilm.label !== label) show(digitFilm, digitFilm.frames, caption, (digitFilm.label = label));
  predicted += 1;
  latents = predicted > LAST ? moveOn(before, startOfDigits()) : moveOn(before, next);
});

function startOfDigits() {
  predicted = 0;
  return digitCodes[+choose("digits")];
}

function restartDigits() {
  latents = startOfDigits().slice();
  return stepDigits();
}

/* ---- All together -------------------------------------------------------------------------- */

async function start() {
  document.documentElement.style.setProperty("--clips", facts.clips.length);
  document.documentElement.style.setProperty("--atlas", `url(${get("atlas").src})`);
  addThumbs("A", 0);
  addThumbs("B", 5);
  facts.digits.forEach(([first, second], n) => {
    const label = get("digit-clips").appendChild(document.createElement("label"));
    label.innerHTML = `<input type="radio" name="digits" value="${n}"> ${first} and ${second}`;
    label.firstChild.checked = n === 0;
    label.firstChild.addEventListener("change", restartDigits);
  });
  document.querySelectorAll('input[name="code"]').forEach((each) => each.addEventListener("change", showSwap));
  document.querySelectorAll('input[name="freeze"]').forEach((each) => {
    each.addEventListener("change", () => {
      const states = [0, 1].map((factor) => `factor ${factor} ${isFrozen(factor) ? "is frozen" : "goes on"}`);
      say(`Two digits: ${states.join(", ")}.`);
    });
  });
  const clicks = { "draw-s": drawS, "draw-d": drawD, reset, step: stepDigits, again: restartDigits };
  for (const [id, action] of Object.entries(clicks)) get(id).addEventListener("click", action);
  get("play").addEventListener("click", () => setPlaying(!playing));
  setPlaying(playing);
  setInterval(tick, 150);

  await Promise.all([get("atlas").decode(), readCodes()]);
  showOriginals(0, 5);
  document.body.dataset.shown = "originals";
  latents = digitCodes[0].slice();
  await showSwap();
  await reset();
  await stepDigits();
  document.body.dataset.ready = "yes";
}

start();
