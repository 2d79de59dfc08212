/** A chart of lines over time. The latest values stand in its legend; pointer and arrow keys read those before. */

import { draw, make, put, say } from "./dom.js";
import { duration, moment } from "./format.js";

const HEIGHT = 170;
const EDGE = { top: 8, right: 10, bottom: 20, left: 48 };
const SPANS_S = [60, 120, 300, 600, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 24 * 3600];

/** Where the lines across go, from 0 to at least `most`: at most `wanted` steps of 1, 2 or 5 times a power of ten. */
export function ticks(most, wanted = 4, least = 0) {
  const rough = Math.max(most, Number.MIN_VALUE) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(least, power * [1, 2, 5, 10].find((times) => times * power >= rough * (1 - 1e-9)));
  const steps = Math.max(1, Math.ceil(most / step - 1e-9));
  return Array.from({ length: steps + 1 }, (_, index) => Number((index * step).toPrecision(12)));
}

/** The shortest span of time that shows them all, and the longest where none does. */
export const spanOf = (seconds) => SPANS_S.find((span) => span >= seconds) ?? SPANS_S.at(-1);

export class Chart {
  /** `series` are {name, label, area, thin}; `format` writes a value, `least` is the smallest step of the scale. */
  constructor(id, { series, format, least = 0, idle = 1 }) {
    Object.assign(this, { series, format, least, idle, samples: [], at: null });
    this.figure = document.getElementById(id);
    this.title = this.figure.querySelector("strong").textContent;
    this.legend = make("ul", { class: "legend" });
    this.spoken = make("span", { class: "unseen", role: "status" });
    this.svg = draw("svg", { role: "img", tabindex: 0, height: HEIGHT });
    this.figure.append(this.legend, this.svg, this.spoken);
    this.svg.addEventListener("pointermove", (event) => this.point(event.offsetX));
    this.svg.addEventListener("pointerleave", () => this.look(null));
    this.svg.addEventListener("blur", () => this.look(null));
    this.svg.addEventListener("keydown", (event) => this.step(event));
    new ResizeObserver(() => this.render()).observe(this.svg);
  }

  /** Show these: {at (ms), NAME: number or null …}, the oldest first. */
  update(samples) {
    this.samples = samples;
    this.render();
  }

  point(x) {
    if (!this.samples.length || !this.scale) return;
    const distance = (sample) => Math.abs(this.scale.x(sample.at) - x);
    this.look(this.samples.reduce((best, each) => (distance(each) < distance(best) ? each : best)).at);
  }

  step(event) {
    const move = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (move === undefined || !this.samples.length) return;
    event.preventDefault();
    const last = this.samples.length - 1;
    const now = this.at === null ? last : this.samples.findIndex(({ at }) => at === this.at);
    const sample = this.samples[Math.min(last, Math.max(0, now + move))];
    this.look(sample.at);
    say(this.spoken, `${moment(sample.at)}: ${this.inWords(sample)}`);
  }

  look(at) {
    this.at = at;
    this.render();
  }

  inWords = (sample) => this.series.map(({ name, label }) => `${label} ${this.format(sample[name])}`).join(", ");

  render() {
    const width = this.svg.clientWidth;
    if (!width) return;
    const shown = this.samples.find(({ at }) => at === this.at);
    this.writeLegend(shown ?? this.samples.at(-1), shown);
    const end = this.samples.at(-1)?.at ?? 0;
    const span = spanOf((end - (this.samples[0]?.at ?? end)) / 1000);
    const visible = this.samples.filter(({ at }) => at >= end - span * 1000);
    const values = visible.flatMap((sample) => this.series.map(({ name }) => sample[name] ?? 0));
    const marks = ticks(Math.max(...values, 0) || this.idle, 4, this.least);
    this.scale = {
      x: (at) => EDGE.left + (width - EDGE.left - EDGE.right) * (1 - (end - at) / 1000 / span),
      y: (value) => HEIGHT - EDGE.bottom - (HEIGHT - EDGE.top - EDGE.bottom) * (value / marks.at(-1)),
    };
    this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.svg.setAttribute("aria-label", this.summary(visible, span));
    this.svg.replaceChildren(
      ...marks.map((mark) => this.line(mark, width)),
      ...this.times(span, end),
      ...this.series.flatMap((each, index) => this.trace(each, index + 1, visible)),
      ...(shown ? this.crosshair(shown) : []),
    );
  }

  writeLegend(sample, pointed) {
    put(
      this.legend,
      this.series.map(({ name, label }, index) =>
        make(
          "li",
          {},
          make("span", { class: `key series-${index + 1}` }),
          label,
          make("b", {}, sample ? this.format(sample[name]) : "–"),
        ),
      ),
      pointed ? make("li", {}, `at ${moment(pointed.at)}`) : null,
    );
  }

  summary(visible, span) {
    const parts = this.series.map(({ name, label }) => {
      const known = visible.map((sample) => sample[name]).filter((value) => value !== null && value !== undefined);
      if (!known.length) return `${label}: nothing measured`;
      const [now, least, most] = [known.at(-1), Math.min(...known), Math.max(...known)].map(this.format);
      return `${label}: ${now}, between ${least} and ${most}`;
    });
    return `${this.title} in the last ${duration(span)}. ${parts.join("; ")}. Arrow keys read it.`;
  }

  line(value, width) {
    const y = this.scale.y(value);
    return draw(
      "g",
      {},
      draw("line", { class: "grid", x1: EDGE.left, x2: width - EDGE.right, y1: y, y2: y }),
      draw("text", { x: EDGE.left - 8, y: y + 4, "text-anchor": "end" }, this.format(value)),
    );
  }

  times(span, end) {
    const label = (ago) => (ago ? `${duration(ago)} ago` : "now");
    return [span, span / 2, 0].map((ago, index) =>
      draw(
        "text",
        { x: this.scale.x(end - ago * 1000), y: HEIGHT - 4, "text-anchor": ["start", "middle", "end"][index] },
        label(ago),
      ),
    );
  }

  trace({ name, area, thin }, number, visible) {
    return pieces(visible, name).flatMap((piece) => {
      const points = piece.map(
        (sample) => `${this.scale.x(sample.at).toFixed(1)},${this.scale.y(sample[name]).toFixed(1)}`,
      );
      const [first, last] = [piece[0], piece.at(-1)].map((sample) => this.scale.x(sample.at).toFixed(1));
      const floor = this.scale.y(0).toFixed(1);
      return [
        area &&
          draw("polygon", {
            class: `area series-${number}`,
            points: `${first},${floor} ${points.join(" ")} ${last},${floor}`,
          }),
        draw("polyline", {
          class: `trace series-${number}${thin ? " thin" : ""}`,
          points: (points.length > 1 ? points : [points[0], points[0]]).join(" "),
        }),
      ].filter(Boolean);
    });
  }

  crosshair(sample) {
    const x = this.scale.x(sample.at);
    const dots = this.series.map(({ name }, index) =>
      sample[name] === null || sample[name] === undefined
        ? null
        : draw("circle", { class: `dot series-${index + 1}`, cx: x, cy: this.scale.y(sample[name]), r: 4 }),
    );
    return [
      draw("line", { class: "crosshair", x1: x, x2: x, y1: EDGE.top, y2: HEIGHT - EDGE.bottom }),
      ...dots.filter(Boolean),
    ];
  }
}

/** The runs of samples that have a value: where there is none, the line has a gap. */
function pieces(samples, name) {
  const found = [[]];
  for (const sample of samples) {
    if (sample[name] === null || sample[name] === undefined) found.push([]);
    else found.at(-1).push(sample);
  }
  return found.filter((piece) => piece.length);
}
