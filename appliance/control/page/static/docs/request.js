/** A request as a form says it: for fetch, and as a command to copy. */

import { part } from "../api.js";

/** {method, path, query, body} from the form of an operation. Raises Error for a body that is not JSON. */
export function requestOf({ method, path, parameters, hasBody }, form) {
  const given = (name) => form.elements[name].value.trim();
  const filled = parameters.map((each) => ({ ...each, text: given(each.name) }));
  const missing = filled.find(({ required, text }) => required && !text);
  if (missing) throw new Error(`${missing.name} is needed`);
  const inPath = filled.filter((each) => each.in === "path");
  const inQuery = filled.filter((each) => each.in === "query" && each.text);
  return {
    method: method.toUpperCase(),
    path: inPath.reduce((text, each) => text.replace(`{${each.name}}`, part(each.text)), path).replace(/^\//, ""),
    query: Object.fromEntries(inQuery.map(({ name, text, isList }) => [name, isList ? text.split(/[\s,]+/) : text])),
    headers: Object.fromEntries(
      filled.filter((each) => each.in === "header" && each.text).map(({ name, text }) => [name, text]),
    ),
    body: hasBody ? parsed(given("body")) : undefined,
  };
}

function parsed(text) {
  if (!text) return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`the body is not JSON: ${error.message}`, { cause: error });
  }
}

/** The same for a shell. Where a token is used, the command reads it from a variable: it would stay in the history. */
export function commandOf({ method, path, query, headers, body }, { origin, hasToken }) {
  const url = new URL(path, `${origin}/`);
  for (const [name, value] of Object.entries(query))
    for (const each of [value].flat()) url.searchParams.append(name, each);
  const lines = [
    `curl${method === "GET" ? "" : ` -X ${method}`} ${quoted(url.href)}`,
    ...(hasToken ? ['-H "Authorization: Bearer $ICWS_TOKEN"'] : []),
    ...Object.entries(headers).map(([name, value]) => `-H ${quoted(`${name}: ${value}`)}`),
    ...(body === undefined ? [] : ["-H 'Content-Type: application/json'", `-d ${quoted(JSON.stringify(body))}`]),
  ];
  return lines.join(" ");
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
