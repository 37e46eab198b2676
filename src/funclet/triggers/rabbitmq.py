"""RABBITMQ triggers: an exchange of a broker."""

from funclet.triggers.fields import INSTANCE, IS_SERIAL, Flag, Text, batch_size
from funclet.triggers.protocol import EXISTS, INVALID, MISSING, Traits
from funclet.triggers.source import SourceType, not_connected

RABBITMQ = SourceType(
    traits=Traits(
        code="RABBITMQ",
        invalid_code=INVALID,
        missing_code=MISSING,
        can_be_disabled=True,
        starts_disabled=True,
        secrets=("access_password",),
        unconnected=not_connected("RabbitMQ"),
    ),
    fields=(
        INSTANCE,
        Text("exchange_name", required=True, most=255),
        Text("access_password", required=True),
        Text("access_user", least=0, most=255),
        Text("connect_address", least=0),
        Text("vhost", least=0, most=255),
        Flag("ssl_enable"),
        batch_size(1000),
        IS_SERIAL,
    ),
    identity=("instance_id", "exchange_name", "vhost"),
    unique_by=("instance_id", "exchange_name", "vhost"),
    exists_code=EXISTS,
)
