"""What a configuration may say and hardly means."""

from msgspec.structs import replace

from switchgear.assembly.doubtful import doubtful
from switchgear.assembly.settings import Processes, Settings
from switchgear.gateway.settings import GatewaySettings


def test_the_defaults_and_a_narrow_trust_are_not_doubted() -> None:
    assert list(doubtful(Settings())) == []
    trusted = GatewaySettings(trusted_proxies=("10.0.0.0/8", "fd00::/8"))
    assert list(doubtful(Settings(gateway=trusted))) == []


def test_to_trust_everybody_is_doubted() -> None:
    trusted = GatewaySettings(trusted_proxies=("0.0.0.0/0", "10.0.0.0/8", "::/0"))
    told = list(doubtful(Settings(gateway=trusted)))
    assert [line.split()[1] for line in told] == ["0.0.0.0/0", "::/0"]
    assert told[0].startswith("gateway.trusted_proxies: 0.0.0.0/0 is everybody: any client may")


def test_no_service_anywhere_is_doubted() -> None:
    none = Settings(processes=Processes(services=0))
    (line,) = doubtful(none)
    assert line.startswith("processes.services: there is none, nor")
    assert list(doubtful(replace(none, peers={"service": ["tcp:10.0.0.7:81"]}))) == []
