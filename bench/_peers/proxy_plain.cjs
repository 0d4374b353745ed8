// A reverse proxy with @fastify/http-proxy as it comes.
"use strict";
const app = require("fastify")();

app.register(require("@fastify/http-proxy"), {
  upstream: `http://127.0.0.1:${process.env.UPSTREAM}`,
});
app.listen({ port: Number(process.env.PORT), host: "127.0.0.1" });
