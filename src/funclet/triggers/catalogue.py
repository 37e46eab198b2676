"""All kinds of triggers of the API, those that fire on this server and those that are only kept."""

from collections.abc import Sequence

from funclet.triggers.apig import CODES, GatewayType
from funclet.triggers.cts import CtsType
from funclet.triggers.dis import DIS
from funclet.triggers.dms import DMS
from funclet.triggers.dynamodb import DYNAMODB
from funclet.triggers.eventgrid import EVENTGRID
from funclet.triggers.iotda import IOTDA
from funclet.triggers.kafka import KAFKA, OPENSOURCEKAFKA
from funclet.triggers.lts import LTS
from funclet.triggers.mongo import DDS, GAUSSMONGO
from funclet.triggers.obs import ObsType
from funclet.triggers.protocol import TriggerType
from funclet.triggers.rabbitmq import RABBITMQ
from funclet.triggers.rocketmq import ROCKETMQ
from funclet.triggers.smn import SMN
from funclet.triggers.timer import TimerType


def all_types(*, default_zone: str, gateway_url: str) -> Sequence[TriggerType]:
    """Return every kind.

    Args:
        default_zone: IANA name of the zone of timers that name none.
        gateway_url: how clients reach the gateway.
    """
    return (
        TimerType(default_zone=default_zone),
        *(GatewayType(code, gateway_url=gateway_url) for code in CODES),
        ObsType(),
        SMN,
        KAFKA,
        OPENSOURCEKAFKA,
        RABBITMQ,
        ROCKETMQ,
        CtsType(),
        LTS,
        EVENTGRID,
        DDS,
        GAUSSMONGO,
        DIS,
        DMS,
        IOTDA,
        DYNAMODB,
    )
