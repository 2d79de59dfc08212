/** JSON schemas as people read them: their types in words, their fields in rows, and an example. */

const WORDS = { string: "text", integer: "whole number", number: "number", boolean: "true or false", null: "null" };
const DEEPEST = 4;
const LIMITS = [
  ["minimum", "at least"],
  ["exclusiveMinimum", "more than"],
  ["maximum", "at most"],
  ["minLength", "at least", "characters"],
  ["maxLength", "at most", "characters"],
  ["maxItems", "at most", "items"],
];

export class Schemas {
  constructor(components) {
    this.named = components?.schemas ?? {};
  }

  /** What a schema refers to. */
  resolve(schema = {}) {
    const name = schema.$ref?.split("/").pop();
    return name ? this.resolve({ ...this.named[name], ...without(schema, "$ref") }) : schema;
  }

  /** The schemas that a value may have, without null. */
  choices(schema) {
    const { anyOf, oneOf } = this.resolve(schema);
    const all = anyOf ?? oneOf ?? [schema];
    return all.map((each) => this.resolve(each)).filter(({ type }) => type !== "null");
  }

  /** The values that are allowed, null where they are not listed. */
  values(schema) {
    const lists = this.choices(schema).map((each) => each.enum ?? (each.const === undefined ? null : [each.const]));
    return lists.length && lists.every(Boolean) ? lists.flat() : null;
  }

  /** "text", "list of whole number", "v0, v1 or v2". */
  inWords(schema) {
    const listed = this.values(schema);
    if (listed) return listed.length > 1 ? `${listed.slice(0, -1).join(", ")} or ${listed.at(-1)}` : String(listed[0]);
    const words = this.choices(schema).map((each) => this.typeInWords(each));
    return [...new Set(words)].join(" or ") || "anything";
  }

  typeInWords(schema) {
    if (schema.format === "date-time") return "time";
    if (schema.type === "array") return `list of ${this.inWords(schema.items)}`;
    if (schema.type === "object") return schema.additionalProperties ? "object, by name" : "object";
    return WORDS[schema.type] ?? "anything";
  }

  /** The fields of an object and of those in it: {name, type, isRequired, note}, names as in `a.b[].c`. */
  rows(schema, above = "", depth = 0) {
    if (depth > DEEPEST) return [];
    return this.choices(schema).flatMap((each) => {
      if (each.type === "array") return this.rows(each.items, `${above}[]`, depth + 1);
      return Object.entries(each.properties ?? {}).flatMap(([key, of]) => {
        const name = above ? `${above}.${key}` : key;
        const row = {
          name,
          type: this.inWords(of),
          isRequired: each.required?.includes(key) ?? false,
          note: this.noteOf(of),
        };
        return [row, ...this.rows(of, name, depth + 1)];
      });
    });
  }

  /** The description of a value, with its default and its limits. */
  noteOf(schema) {
    const { description, default: initial } = this.resolve(schema);
    const [first = {}] = this.choices(schema);
    const limits = LIMITS.filter(([name]) => first[name] !== undefined).map(([name, words, unit]) =>
      [words, first[name], unit].filter((part) => part !== undefined).join(" "),
    );
    const known = initial === undefined || initial === null ? [] : [`default ${JSON.stringify(initial)}`];
    const sentences = [description?.trim().replace(/\.$/, ""), [...known, ...limits].join(", ")].filter(Boolean);
    return sentences.map((each) => `${each.charAt(0).toUpperCase()}${each.slice(1)}.`).join(" ");
  }

  /** A value to begin with. */
  example(schema, depth = 0) {
    const whole = this.resolve(schema);
    if (whole.examples?.length) return whole.examples[0];
    if (whole.default !== undefined) return whole.default;
    const [first = {}] = this.choices(schema);
    const listed = this.values(first);
    if (listed) return listed[0];
    if (first.type === "array") return depth > DEEPEST ? [] : [this.example(first.items, depth + 1)];
    if (first.type !== "object")
      return { integer: first.minimum ?? 0, number: first.minimum ?? 0, boolean: false }[first.type] ?? "";
    const needed = Object.entries(first.properties ?? {}).filter(([name]) => first.required?.includes(name));
    return Object.fromEntries(needed.map(([name, of]) => [name, this.example(of, depth + 1)]));
  }
}

const without = (object, left) => Object.fromEntries(Object.entries(object).filter(([name]) => name !== left));
