"""The gateway's figures, each with its default."""

import re
from typing import Final, Literal

import msgspec

from switchgear.gateway.client_address import networks
from switchgear.policy import ranges
from switchgear.policy.route import Route, Router
from switchgear.policy.shedder import ShedderSettings

__all__ = ["CorsSettings", "CsrfSettings", "GatewaySettings", "Limit"]


# Whatever the address bar shows, browsers write names in ASCII, and no port that is the scheme's.
_ORIGIN: Final = re.compile(
    r"\*|null|(?!http:.*:80\Z|https:.*:443\Z)[a-z][a-z0-9+.-]*://(?:(?![A-Z/?#@])[!-~])+"
)


class Limit(msgspec.Struct, frozen=True):
    """A token bucket: `rate` per second in the long run, `burst` at once."""

    rate: float
    burst: float

    def __post_init__(self) -> None:
        ranges.above(self, "rate", 0)
        ranges.at_least(self, "burst", 1)


class CorsSettings(msgspec.Struct, frozen=True):
    """What pages of the listed `origins` may do beside calling and reading.

    `credentials`: have the browser add its cookies, and read what comes of that. `max_age` is for
    how many seconds a browser need not ask again; Chromium heeds two hours of it at most.
    """

    credentials: bool = False
    max_age: float = 600.0

    def __post_init__(self) -> None:
        ranges.between(self, "max_age", 0, 86_400)


class CsrfSettings(msgspec.Struct, frozen=True):
    """Whether requests that change something are refused to pages of sites that are not listed.

    `exempt` are paths that any page may send a form to, as routes are written ("/sso/{name}/acs"):
    where others sign in for us, and answer by a form.
    """

    mode: Literal["enforce", "observe", "off"] = "enforce"
    exempt: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        try:
            Router(Route("*", path, True) for path in self.exempt)
        except ValueError as error:
            raise ValueError(ranges.words(self, "exempt", f"paths of routes ({error})")) from None


class GatewaySettings(msgspec.Struct, frozen=True):
    """What the gateway protects with. Durations are seconds, rates are per second.

    The address and principal limits let one client run a benchmark; they stop one client from
    being everybody's load. `sign_in` holds per address for routes that take credentials.
    """

    address: Limit = Limit(20_000, 40_000)
    principal: Limit = Limit(5_000, 10_000)
    sign_in: Limit = Limit(2, 30)
    table: int = 65_536  # addresses or principals that are remembered at once
    attempts: int = 3
    attempt_timeout: float = 1.0
    endpoint_permits: int = 256  # calls at once to one endpoint from one gateway process
    shed: ShedderSettings = ShedderSettings()
    trusted_proxies: tuple[str, ...] = ()  # CIDRs; X-Forwarded-For is believed only from these
    # Whose pages may call, read the answers and open WebSockets, beside the host's own; "*": any.
    # Where there are some, no application behind says anything else of it.
    origins: tuple[str, ...] = ()
    cors: CorsSettings = CorsSettings()
    csrf: CsrfSettings = CsrfSettings()
    token_cache: int = 10_000
    leeway: float = 10.0  # seconds of clock difference tolerated in tokens
    keys_every: float = 30.0  # how often the keys are asked for, so that a withdrawn one ends
    ended_every: float = 2.0  # how often it is asked which sessions have ended before their time

    def __post_init__(self) -> None:
        networks(self.trusted_proxies)
        if any(not _ORIGIN.fullmatch(one) for one in self.origins):
            right = (
                'origins as browsers write them ("https://a.example": lower case, no path, names in'
                ' ASCII, and neither :443 of https nor :80 of http), or "*"'
            )
            raise ValueError(ranges.words(self, "origins", right))
        listed = set(self.origins)
        if self.cors.credentials and (not listed or listed & {"*", "null"}):
            right = 'whole origins, neither "*" nor "null" (which is any), with cors.credentials'
            raise ValueError(ranges.words(self, "origins", right))
        ranges.between(self, "attempts", 1, 10)
        ranges.between(self, "leeway", 0, 120)
        for count in ("table", "endpoint_permits", "token_cache"):
            ranges.at_least(self, count, 1)
        for duration in ("attempt_timeout", "keys_every", "ended_every"):
            ranges.above(self, duration, 0)
