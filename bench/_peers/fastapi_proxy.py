"""A reverse proxy in FastAPI with httpx, as the documentation of both suggests it."""

import os

import httpx
from fastapi import FastAPI, Request, Response

app = FastAPI()
client = httpx.AsyncClient(
    base_url=f"http://127.0.0.1:{os.environ['UPSTREAM']}",
    limits=httpx.Limits(max_connections=256, max_keepalive_connections=256),
)


@app.api_route("/{path:path}", methods=["GET", "POST"])
async def forward(path: str, request: Request) -> Response:
    headers = [(name, value) for name, value in request.headers.items() if name != "host"]
    answer = await client.request(
        request.method, f"/{path}", content=await request.body(), headers=headers
    )
    return Response(answer.content, answer.status_code, dict(answer.headers))
