// A JSON endpoint on Node's own http module.
"use strict";
const http = require("node:http");

const ada = {
  id: 7, name: "Ada Lovelace", email: "ada@example.com", tags: ["poet", "engine", "notes"],
  address: { street: "12 St James's Square", city: "London", zip: "SW1Y 4JH" },
};

function answer(response, value) {
  const body = JSON.stringify(value);
  response.writeHead(200, {
    "content-type": "application/json", "content-length": Buffer.byteLength(body),
  });
  response.end(body);
}

http.createServer((request, response) => {
  if (request.method !== "POST") {
    answer(response, ada);
    return;
  }
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => answer(response, JSON.parse(Buffer.concat(chunks))));
}).listen(Number(process.env.PORT), "127.0.0.1");
