// The users' REST app in Fastify, validated as VALIDATION says: ajv (its own), zod as its type
// provider does, or zod by hand.
"use strict";
const fastify = require("fastify");

let last = 1000;
const find = async (request) => ({
  id: request.params.id, name: "Ada Lovelace", email: "ada@example.com", age: 36,
});
const create = async (request, reply) => {
  last += 1;
  reply.code(201);
  const { name, email, age } = request.body;
  return { id: last, name, email, age };
};

function byAjv(app) {
  const text = { type: "string" };
  const age = { type: "integer", minimum: 0, maximum: 150 };
  const user = {
    type: "object", required: ["id", "name", "email", "age"],
    properties: { id: { type: "integer" }, name: text, email: text, age },
  };
  const fresh = {
    type: "object", required: ["name", "email", "age"],
    properties: {
      name: { type: "string", minLength: 1, maxLength: 100 },
      email: { type: "string", format: "email" }, age,
    },
  };
  const params = { type: "object", properties: { id: { type: "integer" } } };
  app.get("/users/:id", { schema: { params, response: { 200: user } } }, find);
  app.post("/users", { schema: { body: fresh, response: { 201: user } } }, create);
}

function schemas() {
  const { z } = require("zod");
  const age = z.number().int().min(0).max(150);
  const fresh = z.object({ name: z.string().min(1).max(100), email: z.email(), age });
  const user = z.object({ id: z.number().int(), name: z.string(), email: z.string(), age });
  return { z, fresh, user };
}

function byProvider(app) {
  const { z, fresh, user } = schemas();
  const { serializerCompiler, validatorCompiler } = require("fastify-type-provider-zod");
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  const typed = app.withTypeProvider();
  const params = z.object({ id: z.coerce.number().int() });
  typed.get("/users/:id", { schema: { params, response: { 200: user } } }, find);
  typed.post("/users", { schema: { body: fresh, response: { 201: user } } }, create);
}

function byHand(app) {
  const { z, fresh } = schemas();
  const number = z.coerce.number().int();
  app.get("/users/:id", async (request, reply) => {
    const id = number.safeParse(request.params.id);
    if (!id.success) return reply.code(400).send({ issues: id.error.issues });
    return { id: id.data, name: "Ada Lovelace", email: "ada@example.com", age: 36 };
  });
  app.post("/users", async (request, reply) => {
    const told = fresh.safeParse(request.body);
    if (!told.success) return reply.code(400).send({ issues: told.error.issues });
    last += 1;
    return reply.code(201).send({ id: last, ...told.data });
  });
}

const app = fastify();
({ ajv: byAjv, provider: byProvider, hand: byHand })[process.env.VALIDATION](app);
app.listen({ port: Number(process.env.PORT), host: "127.0.0.1" });
