// Draws /openapi.json: operations in groups, their parameters and schemas, and a form that tries each of them.
"use strict";

const STREAM_MS = 3000;
const SHOWN_CHARACTERS = 20000;
const byId = (id) => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(key, "");
    else if (value !== undefined && value !== false && value !== null) made.setAttribute(key, String(value));
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const follow = (spec, part) =>
  part && part.$ref ? part.$ref.slice(2).split("/").reduce((tree, key) => tree[key], spec) : part;

// Text with `code` in it.
function prose(text) {
  const pieces = text.split("`").map((piece, index) => (index % 2 ? element("code", {}, piece) : piece));
  return element("p", {}, ...pieces);
}

function typeWords(spec, schema) {
  if (schema.$ref) return schema.$ref.split("/").pop();
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.anyOf) return schema.anyOf.map((one) => typeWords(spec, one)).join(" | ");
  if (schema.type === "array") return `list of ${typeWords(spec, schema.items || {})}`;
  if (schema.type === "object" && schema.additionalProperties && schema.additionalProperties !== true) {
    return `object of ${typeWords(spec, schema.additionalProperties)}`;
  }
  const bounds = [];
  if (schema.minimum !== undefined) bounds.push(`≥ ${schema.minimum}`);
  if (schema.maximum !== undefined) bounds.push(`≤ ${schema.maximum}`);
  if (schema.maxLength !== undefined) bounds.push(`≤ ${schema.maxLength} characters`);
  if (schema.pattern) bounds.push(schema.pattern);
  if (schema.default !== undefined && schema.default !== null) bounds.push(`default ${JSON.stringify(schema.default)}`);
  return [schema.format || schema.type || "anything", ...bounds].join(", ");
}

// The schemas that a type is made of, to be shown below it.
function parts(schema) {
  if (schema.anyOf) return schema.anyOf.flatMap(parts);
  if (schema.type === "array") return parts(schema.items || {});
  if (schema.additionalProperties && schema.additionalProperties !== true) return parts(schema.additionalProperties);
  return schema.$ref || schema.properties ? [schema] : [];
}

function fieldList(spec, schema, above = []) {
  const whole = follow(spec, schema);
  const list = element("ul", { class: "schema" });
  for (const [name, field] of Object.entries(whole.properties || {})) {
    const optional = (whole.required || []).includes(name) ? "" : ", optional";
    const item = element("li", {}, element("code", {}, name), " ");
    item.append(element("span", { class: "dim" }, `${typeWords(spec, field)}${optional}`));
    if (field.description) item.append(` – ${field.description}`);
    for (const part of parts(field)) {
      if (!part.$ref || !above.includes(part.$ref)) item.append(fieldList(spec, part, [...above, part.$ref]));
    }
    list.append(item);
  }
  return list;
}

function parameterTable(operation) {
  const rows = operation.parameters.map((one) =>
    element(
      "tr",
      {},
      element("td", {}, element("code", {}, one.name)),
      element("td", {}, one.in + (one.required ? ", required" : "")),
      element("td", {}, typeWords({}, one.schema)),
      element("td", {}, one.description || ""),
    ),
  );
  const head = ["Name", "In", "Type", "Meaning"].map((word) => element("th", { scope: "col" }, word));
  const table = element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
  return element("div", { class: "scroll" }, table);
}

function answers(spec, operation) {
  const made = [element("h4", {}, "Answers")];
  for (const [status, given] of Object.entries(operation.responses)) {
    const answer = follow(spec, given);
    const [media, content] = Object.entries(answer.content)[0];
    const box = element("details", {});
    const mood = status < 400 ? "good" : "bad";
    box.append(element("summary", {}, element("span", { class: mood }, status), ` ${answer.description} `, element("span", { class: "dim" }, media)));
    if (media === "application/json") box.append(fieldList(spec, content.schema));
    if (content.example) box.append(element("pre", {}, JSON.stringify(content.example, null, 2)));
    made.push(box);
  }
  return made;
}

function input(parameter, id) {
  if (parameter.schema.enum) {
    const options = parameter.schema.enum.map((value) => element("option", { value }, value));
    return element("select", { id, name: parameter.name }, element("option", { value: "" }, "any"), ...options);
  }
  const kind = parameter.schema.type === "integer" ? "number" : "text";
  const hint = parameter.schema.default;
  return element("input", { id, name: parameter.name, type: kind, placeholder: hint ?? "", required: parameter.required, autocomplete: "off" });
}

function tryForm(path, method, operation) {
  const form = element("form", { class: "try", "aria-label": `Try ${method} ${path}` });
  const parameters = operation.parameters || [];
  for (const parameter of parameters) {
    const id = `${operation.operationId}.${parameter.name}`;
    form.append(element("label", { for: id }, parameter.name + (parameter.required ? "" : " (optional)")), input(parameter, id));
  }
  const content = operation.requestBody && operation.requestBody.content["application/json"];
  if (content) {
    const id = `${operation.operationId}.body`;
    const area = element("textarea", { id, name: "body", spellcheck: "false" });
    area.value = JSON.stringify(content.example || {}, null, 2);
    form.append(element("label", { for: id }, "Body (JSON)"), area);
  }
  const button = element("button", { type: "submit" }, "Try it");
  const line = element("p", { class: "result mono", role: "status" });
  const shown = element("pre", { hidden: true, tabindex: "0" });
  form.append(element("div", {}, button), line, shown);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      await send(form, path, method, parameters, line, shown);
    } catch (error) {
      line.textContent = `No answer: ${error.message}`;
    }
    button.disabled = false;
  });
  return form;
}

async function send(form, path, method, parameters, line, shown) {
  const query = new URLSearchParams();
  let address = path;
  for (const parameter of parameters) {
    const value = form.elements[parameter.name].value;
    if (parameter.in === "path") address = address.replace(`{${parameter.name}}`, encodeURIComponent(value));
    else if (value !== "") query.set(parameter.name, value);
  }
  if (query.size) address += `?${query}`;
  const request = { method, cache: "no-store" };
  if (form.elements.body) {
    request.body = form.elements.body.value;
    request.headers = { "Content-Type": "application/json" };
  }
  line.textContent = `${method} ${address} ...`;
  const began = performance.now();
  const answer = await fetch(address, request);
  const endless = (answer.headers.get("Content-Type") || "").startsWith("text/event-stream");
  const text = endless ? await firstPieces(answer) : await answer.text();
  const took = Math.round(performance.now() - began);
  line.textContent = `${method} ${address} → ${answer.status}, ${took} ms, trace ${answer.headers.get("X-Trace-Id")}`;
  shown.textContent = pretty(text).slice(0, SHOWN_CHARACTERS);
  shown.hidden = false;
}

// What a stream says within a moment; it would never end by itself.
async function firstPieces(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  const over = new Promise((resolve) => setTimeout(() => resolve({ done: true }), STREAM_MS));
  let text = "";
  while (text.length < SHOWN_CHARACTERS) {
    const { done, value } = await Promise.race([reader.read(), over]);
    if (done) break;
    text += value;
  }
  await reader.cancel();
  return text;
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function operationBox(spec, path, method, operation) {
  const verb = method.toUpperCase();
  const summary = element(
    "summary",
    {},
    element("span", { class: `method ${method}` }, verb),
    element("code", {}, path),
    element("span", { class: "dim" }, operation.summary),
  );
  const box = element("details", { class: "card operation", id: operation.operationId }, summary);
  // Drawn when it is opened: a page of twenty schemas at once would be slow on a small machine.
  box.addEventListener("toggle", () => {
    if (!box.open || box.children.length > 1) return;
    const inside = element("div", {}, prose(operation.description || ""));
    if (operation.parameters) inside.append(element("h4", {}, "Parameters"), parameterTable(operation));
    if (operation.requestBody) {
      const schema = operation.requestBody.content["application/json"].schema;
      inside.append(element("h4", {}, "Body"), fieldList(spec, schema));
    }
    inside.append(...answers(spec, operation), tryForm(path, verb, operation));
    box.append(inside);
  });
  return box;
}

function draw(spec) {
  byId("version").textContent = spec.info.version;
  byId("intro").replaceWith(prose(spec.info.description));
  for (const tag of spec.tags) {
    const group = element("section", {}, element("h2", {}, tag.name, " ", element("span", { class: "dim" }, tag.description)));
    const links = element("ul");
    for (const [path, methods] of Object.entries(spec.paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        if (!operation.tags.includes(tag.name)) continue;
        group.append(operationBox(spec, path, method, operation));
        links.append(element("li", {}, element("a", { href: `#${operation.operationId}` }, `${method.toUpperCase()} ${path}`)));
      }
    }
    byId("contents").append(element("h2", {}, tag.name), links);
    byId("groups").append(group);
  }
}

function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target || !target.matches("details.operation")) return;
  target.open = true;
  target.querySelector("summary").focus();
  target.scrollIntoView();
}

async function start() {
  try {
    const answer = await fetch("/openapi.json");
    draw(await answer.json());
    openTarget();
  } catch (error) {
    byId("intro").textContent = `/openapi.json could not be read: ${error.message}`;
  }
}

window.addEventListener("hashchange", openTarget);
start();
