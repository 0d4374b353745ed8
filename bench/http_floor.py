"""What a JSON endpoint costs: ours beside uvicorn, FastAPI, Node and Fastify, GET and POST.

`./dev bench http_floor [--rounds 3] [--seconds 1] [--connections 64]`: about a minute.
"""

import argparse

from bench._apps.contenders import ours_json
from bench._apps.person import PERSON
from bench._harness.load import Asked
from bench._harness.servers import measure
from bench._harness.table import print_figures, print_ground
from bench._peers import fastapi, fastify, node, uvicorn


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench http_floor")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--connections", type=int, default=64)
    settings = parser.parse_args()
    print_ground()
    contenders = [ours_json(), *node(), uvicorn(), *fastify(), fastapi()]
    for asked in (Asked("GET", "/person"), Asked("POST", "/person", PERSON)):
        figures = measure(contenders, asked, **vars(settings))
        print_figures(f"{asked.method} {asked.path}", figures)


if __name__ == "__main__":
    main()
