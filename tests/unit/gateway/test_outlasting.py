"""What ends with a session is kept for as long as it goes on, and no longer."""

import pytest

from switchgear.gateway.outlasting import outlasting
from switchgear.http.message import NOTHING, StreamResponse
from switchgear.http.stream import Stream
from switchgear.identity.internal import Vouched
from switchgear.identity.revocations import Revocations
from switchgear.identity.tokens import Verified
from switchgear.policy.call import Principal
from switchgear.policy.fault import Code, Fault

pytestmark = pytest.mark.virtual


class Feeder:
    """Feeds nothing, and knows when nobody wants any more."""

    over = False

    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def wanted(self) -> None: ...

    def abandoned(self) -> None:
        self.over = True


def verified(session: str) -> Verified:
    return Verified(Principal("ada"), 600.0, 100.0, session, "key", Vouched())


def endless() -> tuple[StreamResponse, Stream, Feeder]:
    feeder = Feeder()
    stream = Stream(feeder, None, 1000)
    return StreamResponse(200, NOTHING, stream), stream, feeder


async def test_what_was_revoked_while_it_was_asked_for_is_cut_at_once() -> None:
    revocations = Revocations()
    revocations.revoke("s", 1000.0, 150.0)
    answer, stream, feeder = endless()
    outlasting(answer, verified("s"), revocations)
    with pytest.raises(Fault) as cut:
        await stream.read(1000)
    assert cut.value.code is Code.UNAUTHENTICATED
    assert feeder.over


async def test_what_is_over_is_kept_no_longer() -> None:
    revocations = Revocations()
    answer, _, _ = endless()
    outlasting(answer, verified("s"), revocations)
    assert revocations._outlasting
    answer.abandon()
    assert not revocations._outlasting
