"""What is proxied to: nginx with a small and a large answer, on the CPU of the load.

It stands in for accounts, too: it has their keys, and knows of no session that has ended.
"""

import os
from collections.abc import Sequence
from typing import Final

from bench._harness.servers import Contender, Missing
from bench._peers import binary

__all__ = ["LARGE_BYTES", "SMALL", "conf", "upstream"]

SMALL: Final = '{"id":7,"pad":"' + "x" * 183 + '"}'
LARGE_BYTES: Final = 1 << 20

_CONF: Final = """
daemon off;
worker_processes 1;
worker_rlimit_nofile 65536;
pid {folder}/nginx.pid;
error_log stderr crit;
%(user)s
events { worker_connections 32768; multi_accept on; }
http {
  access_log off;
  sendfile on;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  %(http)s
}
"""
_NONE_ENDED: Final = '{"sessions":[],"since":0,"after":"","full":false}'
_SERVER: Final = """
  open_file_cache max=8 inactive=600s;
  server {
    %s
    location / { default_type application/json; return 200 '%s'; }
    location = /large { default_type application/octet-stream; alias {folder}/large; }
    location = /.well-known/jwks.json { default_type application/json; alias {folder}/jwks; }
    location = /sessions/ended { default_type application/json; return 200 '%s'; }
  }
"""


def conf(http: str) -> str:
    """Write nginx's configuration around what is in its http block."""
    user = "user root;" if os.geteuid() == 0 else ""
    return _CONF % {"user": user, "http": http}


def upstream(keys: str, addresses: Sequence[str] = ("127.0.0.1",)) -> Contender | Missing:
    """Return the upstream, listening on one port of each address. `keys` are those of accounts."""
    name = "the upstream, nginx"
    program = binary(name, "nginx")
    if isinstance(program, Missing):
        return program
    listen = "\n    ".join(f"listen {address}:{{port}} backlog=4096;" for address in addresses)
    files = {
        "nginx.conf": conf(_SERVER % (listen, SMALL, _NONE_ENDED)),
        "large": "x" * LARGE_BYTES,
        "jwks": keys,
    }
    return Contender(name, [program, "-c", "{folder}/nginx.conf"], files=files)
