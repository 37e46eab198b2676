"""DDS and GAUSSMONGO triggers: the changes of a collection of documents."""

from funclet.model.errors import ModelError
from funclet.triggers.fields import INSTANCE, IS_SERIAL, Text, batch_size
from funclet.triggers.protocol import EventData, Traits
from funclet.triggers.source import SourceType, not_connected

_INVALID, _MISSING, _EXISTS = "FSS.1164", "FSS.1163", "FSS.1166"
_RESERVED = ("admin", "local", "config")


def _check_database(data: EventData) -> None:
    if data["db_name"] in _RESERVED:
        raise ModelError(_INVALID, f"event_data.db_name must not be {', '.join(_RESERVED)}.")


def _kind(code: str) -> SourceType:
    return SourceType(
        traits=Traits(
            code=code,
            invalid_code=_INVALID,
            missing_code=_MISSING,
            can_be_disabled=True,
            is_pull=True,
            starts_disabled=True,
            secrets=("db_password",),
            unconnected=not_connected("document databases"),
        ),
        fields=(
            INSTANCE,
            Text("db_name", required=True, most=64),
            Text("collection_name", required=True, most=255),
            Text("db_password", required=True),
            batch_size(10_000),
            IS_SERIAL,
        ),
        identity=("instance_id", "db_name", "collection_name"),
        unique_by=("instance_id", "db_name", "collection_name"),
        exists_code=_EXISTS,
        check_more=_check_database,
    )


DDS = _kind("DDS")
GAUSSMONGO = _kind("GAUSSMONGO")
