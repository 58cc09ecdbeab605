// The convolution explorer. The arithmetic comes first and knows nothing of the page; the page comes after it.
"use strict";

window.multiconvExplorer = (() => {
  const LARGEST = 2 ** 31 - 1;
  const PADDING_WORDS = ["valid", "same", "same_upper", "same_lower", "full"];

  class ConvError extends Error {}

  // ---- Values as Python writes them, for messages and code

  function python(value) {
    if (typeof value === "string") return `'${value}'`;
    if (Array.isArray(value)) return `(${value.map(python).join(", ")}${value.length === 1 ? "," : ""})`;
    return String(value);
  }

  function typeName(value) {
    if (Array.isArray(value)) return "tuple";
    return typeof value === "string" ? "str" : "float";
  }

  // ---- The options, the shapes and every refusal, as multiconv.spec has them

  function int(name, value, least) {
    if (!Number.isInteger(value)) throw new ConvError(`${name} must be an int, not ${python(value)} (${typeName(value)})`);
    if (value < least) throw new ConvError(`${name} must be at least ${least}, not ${value}`);
    if (value > LARGEST) throw new ConvError(`${name} must be at most 2^31 - 1, not ${value}`);
    return value;
  }

  function ints(name, value, least) {
    return Array.isArray(value) ? value.map((v, axis) => int(`${name}[${axis}]`, v, least)) : int(name, value, least);
  }

  function checkPadding(value) {
    if (typeof value === "string") {
      if (PADDING_WORDS.includes(value)) return;
      throw new ConvError(
        "padding must be a number, one number or (before, after) pair per axis, or one of " +
          `${PADDING_WORDS.join(", ")}, not ${python(value)}`,
      );
    }
    if (!Array.isArray(value)) {
      int("padding", value, 0);
      return;
    }
    value.forEach((v, axis) => {
      if (Array.isArray(v)) v.forEach((n, side) => int(`padding[${axis}][${side}]`, n, 0));
      else int(`padding[${axis}]`, v, 0);
    });
  }

  const each = (value) => (Array.isArray(value) ? value : [value, value]);

  function padsOf(padding, size, kernel, stride, dilation) {
    const extent = kernel.map((k, a) => (k - 1) * dilation[a] + 1);
    if (padding === "valid") return kernel.map(() => [0, 0]);
    if (padding === "full") return extent.map((e) => [e - 1, e - 1]);
    if (typeof padding === "string") {
      return size.map((n, a) => {
        const total = Math.max((Math.ceil(n / stride[a]) - 1) * stride[a] + extent[a] - n, 0);
        const less = Math.floor(total / 2);
        return padding === "same_lower" ? [total - less, less] : [less, total - less];
      });
    }
    return each(padding).map((p) => (Array.isArray(p) ? p : [p, p]));
  }

  const spatialAxes = (count) => `${count} spatial ax${count === 1 ? "is" : "es"}`;

  function checkAxes(name, value, wShape) {
    const ndim = wShape.length - 2;
    if (!Array.isArray(value) || value.length === ndim) return;
    throw new ConvError(
      `${name}=${python(value)} is for ${spatialAxes(value.length)}, ` +
        `but w of shape ${python(wShape)} has ${spatialAxes(ndim)}`,
    );
  }

  // Settle every question for an input (1, C, H, W) and a kernel (C_out, C / groups, h, w).
  function geometry(xShape, wShape, { stride = 1, dilation = 1, padding = 0, groups = 1 } = {}) {
    ints("stride", stride, 1);
    checkPadding(padding);
    ints("dilation", dilation, 1);
    int("groups", groups, 1);
    if (wShape[0] % groups) {
      throw new ConvError(
        `groups=${groups} does not divide the ${wShape[0]} output channels of w of shape ${python(wShape)}`,
      );
    }
    checkAxes("stride", stride, wShape);
    checkAxes("padding", padding, wShape);
    checkAxes("dilation", dilation, wShape);
    if (xShape[1] !== wShape[1] * groups) {
      throw new ConvError(
        `x of shape ${python(xShape)} has ${xShape[1]} channels, but w of shape ${python(wShape)} with ` +
          `groups=${groups} takes ${wShape[1]} * ${groups} = ${wShape[1] * groups}`,
      );
    }
    const size = xShape.slice(2);
    const kernel = wShape.slice(2);
    const [steps, gaps] = [each(stride), each(dilation)];
    const pads = padsOf(padding, size, kernel, steps, gaps);
    const extent = kernel.map((k, a) => (k - 1) * gaps[a] + 1);
    const padded = size.map((n, a) => n + pads[a][0] + pads[a][1]);
    extent.forEach((e, a) => {
      if (e <= padded[a]) return;
      throw new ConvError(
        `the kernel is larger than the padded input: along spatial axis ${a} it spans ${e} pixels ` +
          `(kernel ${kernel[a]}, dilation ${gaps[a]}), ` +
          `the input ${padded[a]} (size ${size[a]}, padding ${python(pads[a])})`,
      );
    });
    const out = padded.map((n, a) => Math.floor((n - extent[a]) / steps[a]) + 1);
    const dropped = padded.map((n, a) => n - (out[a] - 1) * steps[a] - extent[a]);
    return {
      inChannels: xShape[1], outChannels: wShape[0], groups, size, kernel, stride: steps, dilation: gaps,
      pads, extent, padded, out, dropped,
    };
  }

  const shapeOf = (x) => (Array.isArray(x) ? [x.length, ...shapeOf(x[0])] : []);

  // The products that make the output pixel [channel, row, column], padding's too, in the order of the kernel's taps.
  function products(x, w, options, [o, row, column]) {
    const g = geometry([1, ...shapeOf(x)], shapeOf(w), options);
    const perGroup = g.inChannels / g.groups;
    const first = Math.floor(o / (g.outChannels / g.groups)) * perGroup;
    const [h, v] = g.kernel;
    const terms = [];
    for (let c = 0; c < perGroup; c++) {
      for (let a = 0; a < h; a++) {
        for (let b = 0; b < v; b++) {
          const i = row * g.stride[0] + a * g.dilation[0] - g.pads[0][0];
          const j = column * g.stride[1] + b * g.dilation[1] - g.pads[1][0];
          const inside = i >= 0 && i < g.size[0] && j >= 0 && j < g.size[1];
          const tap = options.flip ? [o, c, h - 1 - a, v - 1 - b] : [o, c, a, b];
          const pixel = inside ? x[first + c][i][j] : 0;
          const weight = w[o][c][tap[2]][tap[3]];
          terms.push({ at: [first + c, i, j], tap, inside, pixel, weight, product: pixel * weight });
        }
      }
    }
    return terms;
  }

  // Cross-correlation of x [C][H][W] with w [C_out][C / groups][h][w]; convolution in the strict sense if flip.
  function crossCorrelate(x, w, options = {}) {
    const g = geometry([1, ...shapeOf(x)], shapeOf(w), options);
    const range = (n) => [...Array(n).keys()];
    const sum = (o, i, j) => products(x, w, options, [o, i, j]).reduce((total, term) => total + term.product, 0);
    return range(g.outChannels).map((o) => range(g.out[0]).map((i) => range(g.out[1]).map((j) => sum(o, i, j))));
  }

  // ---- The same call in each framework

  function literal(array, indent) {
    if (!Array.isArray(array[0])) return `[${array.join(", ")}]`;
    const separator = `,\n${" ".repeat(indent + 1)}`;
    return `[${array.map((part) => literal(part, indent + 1)).join(separator)}]`;
  }

  // The options as keywords, without those that are the default.
  function keywords(pairs) {
    return pairs.filter(([, value]) => value !== null).map(([name, value]) => `, ${name}=${value}`).join("");
  }

  const unless = (value, usual) => (each(value).every((v) => v === usual) ? null : python(value));

  function code(framework, x, w, options) {
    const g = geometry([1, ...shapeOf(x)], shapeOf(w), options);
    const stride = unless(g.stride, 1);
    const dilation = unless(g.dilation, 1);
    const groups = unless(g.groups, 1);
    const pads = g.pads;
    const padded = pads.flat().some((p) => p > 0);
    const symmetric = pads.every(([before, after]) => before === after);
    const halves = python(pads.map(([before]) => before));
    const data = [
      `x = np.array(${literal([x], 13)}, dtype="float32")`,
      `w = np.array(${literal(w, 13)}, dtype="float32")`,
    ];
    const padding = typeof options.padding === "string" ? `"${options.padding}"` : python(options.padding ?? 0);
    const lines = {
      numpy: () => [
        "import multiconv as mc", "import numpy as np", "", ...data, "",
        `y = mc.backend("numpy").${options.flip ? "convolve" : "cross_correlate"}(x, w` +
          keywords([
            ["stride", unless(options.stride ?? 1, 1)], ["padding", padding === "0" ? null : padding],
            ["dilation", unless(options.dilation ?? 1, 1)], ["groups", groups],
          ]) + ")",
      ],
      torch: () => [
        "import numpy as np", "import torch", "import torch.nn.functional as F", "", ...data,
        "x, w = torch.from_numpy(x), torch.from_numpy(w)", "",
        ...(options.flip ? ["w = w.flip(2, 3)  # F.conv2d does not flip"] : []),
        ...(symmetric ? [] : [`x = F.pad(x, ${python([...pads[1], ...pads[0]])})  # left, right, top, bottom`]),
        "y = F.conv2d(x, w" +
          keywords([
            ["stride", stride], ["padding", symmetric && padded ? halves : null], ["dilation", dilation],
            ["groups", groups],
          ]) + ")",
      ],
      jax: () => [
        ...(options.flip ? ["import jax.numpy as jnp"] : []), "import numpy as np", "from jax import lax", "", ...data,
        "",
        ...(options.flip ? ["w = jnp.flip(w, (2, 3))  # lax's convolution does not flip"] : []),
        `y = lax.conv_general_dilated(x, w, ${python(g.stride)}, ${python(pads)}` +
          keywords([["rhs_dilation", dilation], ["feature_group_count", groups]]) + ")",
      ],
      tensorflow: () => {
        // Its own padding only where it takes it with these options.
        const own = g.groups === 1 && dilation === null;
        const explicit = python([[0, 0], ...pads, [0, 0]]).replaceAll("(", "[").replaceAll(")", "]");
        const word = ["same", "same_upper"].includes(options.padding) ? '"SAME"' : explicit;
        return [
          "import numpy as np", "import tensorflow as tf", "", ...data, "",
          "x = tf.transpose(x, (0, 2, 3, 1))  # channels last",
          "w = tf.transpose(w, (2, 3, 1, 0))",
          ...(options.flip ? ["w = tf.reverse(w, (0, 1))  # tf.nn.conv2d does not flip"] : []),
          ...(padded && !own ? [`x = tf.pad(x, ${explicit})`] : []),
          `y = tf.nn.conv2d(x, w, ${python(g.stride)}, ${padded && own ? word : '"VALID"'}` +
            keywords([["dilations", dilation]]) + ")",
          "y = tf.transpose(y, (0, 3, 1, 2))",
        ];
      },
      mxnet: () => [
        "import numpy as np", "from mxnet import nd", "", ...data, "x, w = nd.array(x), nd.array(w)", "",
        ...(options.flip ? ["w = nd.reverse(w, axis=(2, 3))  # nd.Convolution does not flip"] : []),
        ...(symmetric
          ? []
          : [`x = nd.pad(x, mode="constant", pad_width=${python([0, 0, 0, 0, ...pads.flat()])})`]),
        `y = nd.Convolution(x, w, kernel=${python(g.kernel)}` +
          keywords([
            ["stride", stride], ["dilate", dilation], ["pad", symmetric && padded ? halves : null],
            ["num_filter", g.outChannels], ["num_group", groups], ["no_bias", "True"],
          ]) + ")",
      ],
    };
    return `${lines[framework]().join("\n")}\n`;
  }

  return { ConvError, code, crossCorrelate, geometry, products, shapeOf };
})();

// ---- The page

document.addEventListener("DOMContentLoaded", () => {
  const root = document.getElementById("explorer");
  if (!root) return;
  const { ConvError, code, crossCorrelate, geometry, products, shapeOf } = window.multiconvExplorer;
  const FRAMEWORKS = ["numpy", "torch", "jax", "tensorflow", "mxnet"];
  const MOST = { height: 12, width: 12, channels: 4, outputs: 4, kh: 7, kw: 7 };
  const PADS = ["top", "bottom", "left", "right"];
  const field = (name) => root.querySelector(`[name="${name}"]`);
  const range = (n) => [...Array(n).keys()];
  let x = [];
  let w = [];
  let chosen = [0, 0, 0];
  let y = null;

  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  const shown = (value) => String(value).replaceAll("-", "\u2212");
  const inBrackets = (value) => (value < 0 ? `(${shown(value)})` : shown(value));

  // ---- What the fields say

  // As Python would read it: an int, else a float, else the text, which the arithmetic then refuses.
  function number(name) {
    const text = field(name).value.trim();
    return text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
  }

  function size(name) {
    const value = number(name);
    if (Number.isInteger(value) && value >= 1 && value <= MOST[name]) return value;
    throw new ConvError(`${field(name).dataset.what} must be a whole number from 1 to ${MOST[name]} on this page`);
  }

  function options() {
    const pair = (down, across) => (down === across ? down : [down, across]);
    const word = field("padding").value;
    const [top, bottom, left, right] = PADS.map(number);
    return {
      stride: pair(number("stride-down"), number("stride-across")),
      dilation: pair(number("dilation-down"), number("dilation-across")),
      padding: word !== "numbers" ? word : top === bottom && left === right ? pair(top, left) : [[top, bottom], [left, right]],
      groups: number("groups"),
      flip: field("flip").checked,
    };
  }

  // ---- Values

  // What somebody typed, by place; the fill has the others.
  const typedPixels = new Map();
  const typedTaps = new Map();

  function filled(shape, fill, typed, at = []) {
    if (at.length === shape.length) return typed.get(at.join(",")) ?? fill(at, shape);
    return range(shape[at.length]).map((index) => filled(shape, fill, typed, [...at, index]));
  }

  const FILLS = {
    counting: ([c, i, j], [, height, width]) => (c * height + i) * width + j,
    edges: ([, , j], [, , width]) => (j >= Math.ceil(width / 4) && j < width - Math.ceil(width / 4) ? 0 : 1),
    impulse: ([, i, j], [, height, width]) => (i === Math.floor(height / 2) && j === Math.floor(width / 2) ? 1 : 0),
    digits: ([c, i, j]) => ((c * 31 + i * 17 + j * 7 + i * j * 5) % 10),
  };
  const KERNELS = {
    counting: ([o, c, a, b], [, channels, h, v]) => ((o * channels + c) * h + a) * v + b,
    ones: () => 1,
    difference: ([, , a, b], [, , , v]) => (a > 0 ? 0 : b === 0 ? 1 : b === v - 1 ? -1 : 0),
    corner: ([, , a, b]) => (a === 0 && b === 0 ? 1 : 0),
  };

  // ---- Drawing

  function table(caption, rows) {
    const body = element("tbody", {}, ...rows.map((cells) => element("tr", {}, ...cells.map((c) => element("td", {}, c)))));
    return element("table", { class: "cells" }, element("caption", {}, caption), body);
  }

  function cellField(label, value, kind, at, change) {
    const input = element("input", { type: "text", inputmode: "decimal", size: 2, "aria-label": label, value });
    input.dataset[kind] = at.join(",");
    input.addEventListener("change", () => {
      const typed = input.value.trim() === "" ? NaN : Number(input.value);
      if (Number.isFinite(typed)) value = typed;
      input.value = value;
      change(value);
      recompute();
    });
    return input;
  }

  function drawInput(g) {
    const tables = x.map((channel, c) => {
      const rows = range(g.padded[0]).map((p) => {
        const i = p - g.pads[0][0];
        return range(g.padded[1]).map((q) => {
          const j = q - g.pads[1][0];
          if (i >= 0 && i < g.size[0] && j >= 0 && j < g.size[1]) {
            return cellField(`input channel ${c}, row ${i}, column ${j}`, channel[i][j], "pixel", [c, i, j], (typed) => {
              x[c][i][j] = typed;
              typedPixels.set([c, i, j].join(","), typed);
            });
          }
          const zero = element("span", { class: "zero", title: "padding" }, "0");
          zero.dataset.pixel = [c, i, j].join(",");
          return zero;
        });
      });
      const made = table(x.length > 1 ? `channel ${c}` : "", rows);
      made.querySelectorAll("tr").forEach((tr, p) => {
        [...tr.cells].forEach((td, q) => {
          const last = p >= g.padded[0] - g.dropped[0] || q >= g.padded[1] - g.dropped[1];
          td.classList.toggle("dropped", last);
          if (last) td.title = "lost: no window reaches it, because the size is rounded down";
        });
      });
      return made;
    });
    root.querySelector(".input").replaceChildren(...tables);
  }

  function drawKernel() {
    const tables = w.flatMap((filter, o) =>
      filter.map((plane, c) => {
        const rows = plane.map((row, a) =>
          row.map((tap, b) =>
            cellField(`kernel ${o}, channel ${c}, row ${a}, column ${b}`, tap, "tap", [o, c, a, b], (typed) => {
              w[o][c][a][b] = typed;
              typedTaps.set([o, c, a, b].join(","), typed);
            }),
          ),
        );
        return table(w.length > 1 || filter.length > 1 ? `output ${o}, channel ${c}` : "", rows);
      }),
    );
    root.querySelector(".kernel").replaceChildren(...tables);
  }

  function drawOutput(g) {
    const tables = range(g.outChannels).map((o) => {
      const rows = range(g.out[0]).map((i) =>
        range(g.out[1]).map((j) => {
          const button = element("button", { type: "button", tabindex: -1 });
          button.dataset.output = [o, i, j].join(",");
          button.addEventListener("click", () => choose([o, i, j]));
          button.addEventListener("keydown", (event) => move(event, g, [o, i, j]));
          return button;
        }),
      );
      return table(g.outChannels > 1 ? `channel ${o}` : "", rows);
    });
    root.querySelector(".output").replaceChildren(...tables);
  }

  function move(event, g, [o, i, j]) {
    const step = { ArrowUp: [0, -1, 0], ArrowDown: [0, 1, 0], ArrowLeft: [0, 0, -1], ArrowRight: [0, 0, 1],
      PageUp: [-1, 0, 0], PageDown: [1, 0, 0] }[event.key];
    if (!step) return;
    event.preventDefault();
    const limit = [g.outChannels, ...g.out];
    choose([o, i, j].map((v, a) => Math.min(Math.max(v + step[a], 0), limit[a] - 1)));
    root.querySelector('.output [aria-pressed="true"]').focus();
  }

  // ---- An output pixel, and the products that make it

  function choose(at) {
    chosen = at;
    const terms = products(x, w, options(), at);
    root.querySelectorAll("td.seen").forEach((cell) => cell.classList.remove("seen"));
    for (const { at: pixel, tap } of terms) {
      for (const cell of root.querySelectorAll(`[data-pixel="${pixel}"], [data-tap="${tap}"]`)) {
        cell.closest("td").classList.add("seen");
      }
    }
    reveal(root.querySelector(".input"), root.querySelector(".input td.seen"));
    root.querySelectorAll(".output button").forEach((button) => {
      const pressed = button.dataset.output === at.join(",");
      button.setAttribute("aria-pressed", pressed);
      button.tabIndex = pressed ? 0 : -1;
    });
    const place = (indices) => `[${indices.map(shown).join(", ")}]`;
    const rows = terms.map((t) =>
      element(
        "tr",
        t.inside ? {} : { class: "padding" },
        element("td", {}, t.inside ? `x${place(t.at)}` : "padding"),
        element("td", {}, `w${place(t.tap)}`),
        element("td", {}, `${inBrackets(t.pixel)} \u00b7 ${inBrackets(t.weight)}`),
        element("td", {}, shown(t.product)),
      ),
    );
    const sum = shown(y[at[0]][at[1]][at[2]]);
    const foot = element("tr", {}, element("th", { colspan: 3, scope: "row" }, `y${place(at)}, their sum`), element("td", {}, sum));
    const head = element("tr", {}, ...["pixel", "tap", "product", ""].map((t) => element("th", { scope: "col" }, t)));
    root.querySelector(".products").replaceChildren(
      element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows), element("tfoot", {}, foot)),
    );
  }

  // Scroll within the box, and not the page, until the cell is to be seen.
  function reveal(box, cell) {
    if (!cell) return;
    const [outer, inner] = [box.getBoundingClientRect(), cell.getBoundingClientRect()];
    if (inner.top < outer.top || inner.bottom > outer.bottom) box.scrollTop += inner.top - outer.top - 40;
    if (inner.left < outer.left || inner.right > outer.right) box.scrollLeft += inner.left - outer.left - 40;
  }

  function summary(g) {
    const perAxis = ["down", "across"].map((name, a) => {
      const [before, after] = g.pads[a];
      const drop = g.dropped[a] ? `, ${g.dropped[a]} left over` : "";
      return `${name}: \u230a(${g.size[a]} + ${before} + ${after} \u2212 ${g.extent[a]}) / ${g.stride[a]}\u230b + 1 = ${g.out[a]}${drop}`;
    });
    return perAxis.join("; ");
  }

  function setCode(text) {
    for (const framework of FRAMEWORKS) {
      const place = document.getElementById(`explorer-code-${framework}`);
      if (place) place.textContent = text(framework);
    }
  }

  // After a change of a value: all cells stay, and so does the focus, which is in one of them.
  function recompute() {
    const g = geometry([1, ...shapeOf(x)], shapeOf(w), options());
    y = crossCorrelate(x, w, options());
    for (const button of root.querySelectorAll(".output button")) {
      const [o, i, j] = button.dataset.output.split(",");
      button.textContent = shown(y[o][i][j]);
      button.setAttribute("aria-label", `output channel ${o}, row ${i}, column ${j}: ${y[o][i][j]}`);
    }
    choose(chosen.map((v, a) => Math.min(v, [g.outChannels, ...g.out][a] - 1)));
    setCode((framework) => code(framework, x, w, options()));
  }

  function update() {
    const message = root.querySelector(".message");
    const numbers = field("padding").value === "numbers";
    for (const name of PADS) field(name).disabled = !numbers;
    try {
      const [height, width, channels, outputs, kh, kw] = Object.keys(MOST).map(size);
      const asked = options();
      const perGroup = Number.isInteger(asked.groups) && asked.groups > 0 ? Math.max(Math.floor(channels / asked.groups), 1) : channels;
      const xShape = [channels, height, width];
      const wShape = [outputs, perGroup, kh, kw];
      const g = geometry([1, ...xShape], wShape, asked);
      if (Math.max(...g.padded) > 40) throw new ConvError("this page draws no more than 40 pixels along an axis");
      x = filled(xShape, FILLS[field("fill").value], typedPixels);
      w = filled(wShape, KERNELS[field("kernel-fill").value], typedTaps);
      drawInput(g);
      drawKernel();
      drawOutput(g);
      recompute();
      message.textContent = summary(g);
      message.classList.remove("refused");
      root.querySelector(".results").hidden = false;
    } catch (error) {
      if (!(error instanceof ConvError)) throw error;
      message.textContent = `ConvError: ${error.message}`;
      message.classList.add("refused");
      root.querySelector(".results").hidden = true;
      setCode(() => "");
    }
  }

  root.addEventListener("input", (event) => {
    if (!event.target.name) return; // a cell, which waits for its change
    if (event.target.name === "fill") typedPixels.clear();
    if (event.target.name === "kernel-fill") typedTaps.clear();
    update();
  });
  root.addEventListener("submit", (event) => event.preventDefault());
  update();
});
