// A JSON endpoint in Fastify with a schema for what comes and what goes.
"use strict";
const app = require("fastify")();

const text = { type: "string" };
const person = {
  type: "object",
  required: ["id", "name", "email", "tags", "address"],
  properties: {
    id: { type: "integer" }, name: text, email: text, tags: { type: "array", items: text },
    address: {
      type: "object", required: ["street", "city", "zip"],
      properties: { street: text, city: text, zip: text },
    },
  },
};
const ada = {
  id: 7, name: "Ada Lovelace", email: "ada@example.com", tags: ["poet", "engine", "notes"],
  address: { street: "12 St James's Square", city: "London", zip: "SW1Y 4JH" },
};

app.get("/person", { schema: { response: { 200: person } } }, async () => ada);
app.post("/person", { schema: { body: person, response: { 200: person } } },
  async (request) => request.body);
app.listen({ port: Number(process.env.PORT), host: "127.0.0.1" });
