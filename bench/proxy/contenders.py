"""Who is measured: proxies that do nothing else, and two gateways with everything on."""

import base64
import hashlib
import hmac
import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Final

from bench._harness.servers import Contender, Missing, Running
from bench._harness.source import PATH
from bench._peers import binary, in_node
from bench.proxy.gateway import Identity, gateway, lines_with
from bench.proxy.upstream import conf

__all__ = ["contenders"]

_SECRET: Final = "a secret of the benchmark alone, 32 bytes"

_NGINX: Final = """
  upstream behind { server 127.0.0.1:%(port)d; keepalive 256; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:{port} backlog=4096;
    location / {
      proxy_pass http://behind;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      %(more)s
    }
  }
"""
_HAPROXY: Final = """
global
  maxconn 8000
  nbthread 1
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend front
  bind 127.0.0.1:{port}
  default_backend behind
backend behind
  server one 127.0.0.1:%d
"""
_TYPES: Final = "type.googleapis.com/envoy.extensions.filters"
_ENVOY: Final = """
static_resources:
  listeners:
  - address: { socket_address: { address: 127.0.0.1, port_value: {port} } }
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": %(http)s.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: front
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [ { match: { prefix: "/" }, route: { cluster: behind } } ]
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": %(http)s.http.router.v3.Router
  clusters:
  - name: behind
    type: STATIC
    connect_timeout: 1s
    load_assignment:
      cluster_name: behind
      endpoints:
      - lb_endpoints:
        - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: %(port)d } } }
"""
_TRAEFIK: Final = """
[global]
checkNewVersion = false
sendAnonymousUsage = false
[log]
level = "ERROR"
[entryPoints.web]
address = "127.0.0.1:{port}"
[providers.file]
filename = "{folder}/routes.toml"
[serversTransport]
maxIdleConnsPerHost = 256
"""
_ROUTES: Final = """
[http.routers.all]
rule = "PathPrefix(`/`)"
entryPoints = ["web"]
service = "behind"
[http.services.behind.loadBalancer]
[[http.services.behind.loadBalancer.servers]]
url = "http://127.0.0.1:%d"
"""


def contenders(who: Identity, port: int, *, large: bool) -> Sequence[Contender | Missing]:
    """Return everybody, before the upstream at a port."""
    unbuffered = "nginx, unbuffered"  # a large answer goes through a file else
    return (
        gateway("ours, everything on", who, port),
        _ours("ours, http alone", port),
        _nginx("nginx", port),
        *([_nginx(unbuffered, port, "proxy_buffering off;")] if large else []),
        _haproxy("HAProxy", port),
        _envoy("Envoy", port),
        _traefik("Traefik", port),
        in_node("Fastify, http-proxy", "proxy_plain.cjs", {"UPSTREAM": str(port)}),
        _fastify("Fastify, everything on", port),
    )


def _ours(name: str, port: int) -> Contender:
    command = [sys.executable, "-m", "bench._apps.proxy_app", "{port}"]
    return Contender(name, command, {"PYTHONPATH": PATH, "UPSTREAM": str(port)})


def _nginx(name: str, port: int, more: str = "") -> Contender | Missing:
    program = binary(name, "nginx")
    if isinstance(program, Missing):
        return program
    files = {"nginx.conf": conf(_NGINX % {"port": port, "more": more})}
    return Contender(name, [program, "-c", "{folder}/nginx.conf"], files=files)


def _haproxy(name: str, port: int) -> Contender | Missing:
    program = binary(name, "haproxy")
    if isinstance(program, Missing):
        return program
    command = [program, "-db", "-f", "{folder}/haproxy.cfg"]
    return Contender(name, command, files={"haproxy.cfg": _HAPROXY % port})


def _envoy(name: str, port: int) -> Contender | Missing:
    program = binary(name, "envoy")
    if isinstance(program, Missing):
        return program
    command = [program, "-c", "{folder}/envoy.yaml", "--concurrency", "1"]
    command += ["--disable-hot-restart", "--log-level", "error"]
    return Contender(name, command, files={"envoy.yaml": _ENVOY % {"port": port, "http": _TYPES}})


def _traefik(name: str, port: int) -> Contender | Missing:
    program = binary(name, "traefik")
    if isinstance(program, Missing):
        return program
    files = {"traefik.toml": _TRAEFIK, "routes.toml": _ROUTES % port}
    return Contender(name, [program, "--configFile={folder}/traefik.toml"], files=files)


def _fastify(name: str, port: int) -> Contender | Missing:
    env = {"UPSTREAM": str(port), "SECRET": _SECRET}
    made = in_node(name, "proxy_full.cjs", env)
    if isinstance(made, Missing):
        return made
    headers = {"Authorization": f"Bearer {_token()}"}
    return Contender(name, made.command, made.env, headers=headers, counts=_lines)


def _lines(place: Running) -> Mapping[str, int]:
    return {"log lines": lines_with(place, b'"msg":"request"')}


def _token() -> str:
    """Sign a token as @fastify/jwt does by default (HS256)."""
    now = int(time.time())
    claims = {"sub": "bench", "iat": now, "exp": now + 86_400}
    parts = [_part({"alg": "HS256", "typ": "JWT"}), _part(claims)]
    signed = ".".join(parts)
    seal = hmac.new(_SECRET.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(seal).rstrip(b'=').decode()}"


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
