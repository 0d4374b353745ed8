"""Targets for the proxy path: client -> connection -> door -> pool -> upstream, and back.

Whatever is forwarded must be read alike by h11 and by aiohttp's parser in Python, and nothing that
a stranger claims may arrive as if it were ours.
"""

import asyncio
import re
from random import Random
from typing import Final, NamedTuple

import h11
from aiohttp.http_exceptions import BadHttpMessage

from fuzz.cuts import pieces, reader
from fuzz.peers import (
    Asked,
    answer_aiohttp,
    answers_and_refusal,
    answers_h11,
    requests_aiohttp,
    requests_h11,
    twice,
)
from fuzz.world import Dials, Wire, connected, drive, settle, turns, wired
from switchgear.gateway.door import Door
from switchgear.gateway.onward import Trust
from switchgear.gateway.settings import GatewaySettings
from switchgear.gateway.table import RouteEntry
from switchgear.gateway.upstream import Member, Upstream
from switchgear.http.message import Request
from switchgear.http.pool import Pool
from switchgear.http.server import Drive
from switchgear.identity.tokens import Verified
from switchgear.policy.call import Call
from switchgear.policy.fault import Code, Effect, Fault
from switchgear.policy.shedder import Shedder
from switchgear.testing.virtual import clock

__all__ = ["proxy_answers", "proxy_requests"]

TOKEN: Final = "the-gateway-says-so"
ROUTES: Final = (RouteEntry("*", "/", "service", public=True, prefix=True),)
GOOD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello"
WARM: Final = b"GET /warm HTTP/1.1\r\nHost: a\r\n\r\n"
BARE: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"  # to a HEAD

# What only we may say to a service, each of it once; names as CGI reads them.
OURS: Final = {
    "x-forwarded-for": "192.0.2.1",
    "x-forwarded-host": None,
    "x-forwarded-proto": "http",
    "switchgear-token": TOKEN,
    "switchgear-deadline-ms": None,
}
_CLAIM: Final = re.compile(
    r"((x[-_])?forwarded|x[-_](user|remote|original|rewrite|real|client)|switchgear)([-_].*)?"
    r"|true-client-ip|cf-connecting-ip"
)
_HOP: Final = frozenset(
    "connection keep-alive proxy-connection te trailer upgrade expect http2-settings".split()  # noqa: SIM905 - a list of words
)


class Through(NamedTuple):
    """What went through a gateway: to the client, and to the upstream on each connection."""

    back: bytes
    reset: bool  # whether the client saw a reset where the answers end
    begun: list[str]  # the methods of the requests that reached the door
    onward: list[bytes]
    closed: list[bool]  # whether each of those connections was closed before the end


class _House:
    """A gateway before one upstream, which says `answer` to all, or what is right."""

    def __init__(self, answer: list[bytes] | None, *, ends: bool) -> None:
        self.dials = Dials(self._opened)
        self.pools: list[Pool] = []
        self.upstream = Upstream(
            "service",
            GatewaySettings(),
            self._connect,
            random=Random(7).random,
            unseal=lambda _: None,
            clock=clock,
        )
        self.upstream.update([Member("one", "unix:/one", 1, routable=True)])
        trust = Trust(lambda _: None, _nobody, lambda *_: TOKEN)
        shedder = Shedder("shedder")
        self.door = Door(
            ROUTES,
            {"service": self.upstream},
            trust,
            GatewaySettings(),
            local={},
            shedder=shedder,
            clock=clock,
        )
        self.answer = answer
        self.ends = ends
        self.warm = 0  # requests that get a good answer before
        self.asked = 0
        self.peers: list[_Peer] = []

    def _connect(self, name: str, address: str) -> Pool:
        pool = wired(self.dials)
        self.pools.append(pool)
        return pool

    def _opened(self, wire: Wire) -> None:
        self.peers.append(_Peer(wire, self))

    @property
    def wires(self) -> list[Wire]:
        return self.dials.wires


async def _nobody(token: str) -> Verified:
    raise Fault(Code.UNAUTHENTICATED, "nobody is known here", effect=Effect.NONE)


class _Peer:
    """The service: h11 reads what comes, and every request that is whole gets an answer."""

    def __init__(self, wire: Wire, house: _House) -> None:
        self._wire = wire
        self._house = house
        self._reader = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        self._method = b""
        self._tasks: list[asyncio.Task[None]] = []
        wire.on_write = self._take

    def _take(self, data: bytes) -> None:
        self._reader.receive_data(data)
        while True:
            event = self._reader.next_event()
            if isinstance(event, h11.Request):
                self._method = event.method
            elif isinstance(event, h11.EndOfMessage):
                self._reader.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
                self._reader.send(h11.EndOfMessage())
                self._reader.start_next_cycle()
                self._tasks.append(asyncio.ensure_future(self._say()))
            elif not isinstance(event, h11.Data):
                return

    async def _say(self) -> None:
        house = self._house
        house.asked += 1
        if house.answer is None or house.asked <= house.warm:
            await self._wire.feed([BARE if self._method == b"HEAD" else GOOD], lambda _: None)
            return
        await self._wire.feed(house.answer, lambda _: None)
        if house.ends:
            self._wire.finish()


async def _through(given: list[bytes], flavour: int, answer: list[bytes] | None) -> Through:
    house = _House(answer, ends=bool(flavour & 8))
    door = house.door
    begun: list[str] = []

    def intake(request: Request, now: float) -> Call[Request]:
        begun.append(request.method)
        return door.intake(request, now)

    served, _, wire = connected(
        door.handler,
        Drive.EAGER,
        intake=intake,
        problem=door.problem,
        run=None if flavour & 128 else door.run,  # the express way, where there is one
    )
    mark = 0
    if answer is not None and not flavour & 128:
        house.warm = 1
        await wire.feed([WARM], lambda _: None)
        await turns()
        mark = len(wire.sent)
        assert mark
        begun.clear()
    await wire.feed(given, lambda _: None)
    await turns()
    if flavour & 3 == 1:
        wire.finish()
    elif flavour & 3 == 2:
        wire.reset()
    await settle(served, wire)
    closed = [each.closed for each in house.wires]
    await house.upstream.close()
    await asyncio.sleep(30)
    assert served.counters.defects == 0
    return Through(
        wire.sent[mark:], wire.aborted, begun, [each.sent for each in house.wires], closed
    )


def proxy_requests(data: bytes) -> None:
    """Forward a client's bytes."""
    (how, flavour), data = reader(data, 2)
    drive(_requests(how, flavour, data))


async def _requests(how: int, flavour: int, data: bytes) -> None:
    through = await _through(pieces(how, data), flavour, None)
    arrived: list[Asked] = []
    for onward, closed in zip(through.onward, through.closed, strict=True):
        read, partial = requests_h11(onward, strict=True)
        assert closed or not partial, "half a request waits on a connection that is kept"
        try:
            theirs, begun = requests_aiohttp(onward)
        except BadHttpMessage as error:
            assert twice(error), f"aiohttp refuses what was forwarded: {error!r}"
        else:
            assert theirs == read, "two strict readers differ on what was forwarded"
            assert begun == partial
        arrived += read
    assert len(arrived) <= len(through.begun)
    for asked in arrived:
        _ours_alone(asked)
    # Nothing arrives that a reader of the client's bytes does not see there, in that order.
    others = iter(requests_h11(data, strict=False)[0])
    for asked in arrived:
        assert any(_same(asked, other) for other in others), f"{asked} was not sent so"
    answers, after = answers_and_refusal(through.back, through.begun, data)
    assert after == "" or (after == "cut" and flavour & 3), (after, through)
    for answer in answers:
        assert not any(name.startswith(b"switchgear") for name, _ in answer.headers)


def _same(asked: Asked, sent: Asked) -> bool:
    path = sent.target.partition(b"?")[0]
    plain = re.fullmatch(rb"/[a-z]*(/[a-z]+)*", path) is not None
    return (
        asked.method == sent.method
        and asked.body == sent.body
        and (not plain or asked.target.partition(b"?")[0] == path)
    )


def _ours_alone(asked: Asked) -> None:
    names = [re.sub("[^0-9a-z]", "-", name.decode("ascii").lower()) for name, _ in asked.headers]
    values = dict(zip(names, (value.decode("latin-1") for _, value in asked.headers), strict=True))
    for name in names:
        if name in OURS:
            assert names.count(name) == 1, f"{name} is there twice"
            assert OURS[name] in (None, values[name]), f"{name}: {values[name]}"
        else:
            assert _CLAIM.fullmatch(name) is None, f"a stranger's {name} arrived"
            assert name not in _HOP, f"{name} is of one hop"
    assert set(OURS) <= set(names), names
    assert names.count("x-request-id") == names.count("traceparent") == 1
    assert names.count("content-length") + names.count("transfer-encoding") <= 1
    assert names.count("host") == 1


def proxy_answers(data: bytes) -> None:
    """Hand back an upstream's bytes."""
    (how, flavour), data = reader(data, 2)
    drive(_answered(how, flavour, data))


async def _answered(how: int, flavour: int, data: bytes) -> None:
    method = ("GET", "HEAD", "POST", "GET")[flavour >> 4 & 3]
    version = "1.0" if flavour & 64 else "1.1"
    asked = f"{method} /a/b HTTP/{version}\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
    through = await _through([asked], flavour & (8 | 128), pieces(how, data))
    back = through.back
    answers, after = answers_h11(back, [method])
    theirs, tail = answer_aiohttp(back, method)
    assert tail == b""
    assert after != "more", back
    if after == "cut":
        assert theirs is None, "one takes for whole what the other takes for cut"
        return
    (answer,) = answers
    assert theirs is not None
    assert theirs == answer, "two readers differ on what was handed back"
    names = [name for name, _ in answer.headers]
    assert not any(name.startswith(b"switchgear") for name in names), names
    assert names.count(b"x-request-id") == names.count(b"x-frame-options") == 1
    assert b"server" not in names
    own = (b"content-type", b"application/problem+json") in answer.headers
    if own or (
        through.reset and b"content-length" not in names and b"transfer-encoding" not in names
    ):
        return  # our own, or one whose end is a reset: the client knows that it was cut
    # What reached the client whole was whole when it came, as h11 reads it.
    (origin, *_), _ = answers_h11(data, [method])
    assert (origin.status, origin.body) == (answer.status, answer.body)
