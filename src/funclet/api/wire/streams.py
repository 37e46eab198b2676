"""Streams: the operations of the cloud's data ingestion service that its SDK sends, bodies to the service and back."""

import base64
import binascii
from typing import Any

import msgspec

from funclet.api.call import Call
from funclet.api.wire import codec
from funclet.base.http import Response
from funclet.model.errors import ModelError
from funclet.model.messaging import Stream
from funclet.services.streams import (
    DEFAULT_RETENTION_H,
    MAX_RECORDS,
    MAX_STREAM_BYTES,
    MAX_STREAMS,
    PARTITION,
    NewRecord,
)


class StreamBody(msgspec.Struct):
    """Body of the create operation; `max_bytes` is an addition."""

    stream_name: str
    data_duration: int = DEFAULT_RETENTION_H
    """How many hours records are kept."""
    partition_count: int = 1
    max_bytes: int = MAX_STREAM_BYTES


class RecordBody(msgspec.Struct):
    """One record to write, its data in base64."""

    data: str
    partition_key: str = ""


class RecordsBody(msgspec.Struct):
    """Body of the write operation."""

    stream_name: str
    records: list[RecordBody]


async def create_stream(call: Call) -> Response:
    """Serve CreateStream."""
    body = codec.decode(StreamBody, call)
    if body.partition_count != 1:
        raise ModelError("FSS.0400", "A stream of this server has one partition: partition_count must be 1.")
    await call.services.streams.create(
        call.principal, body.stream_name, retention_h=body.data_duration, max_bytes=body.max_bytes
    )
    return Response(status=201)


async def list_streams(call: Call) -> Response:
    """Serve ListStreams."""
    limit = codec.query_number(call, "limit", default=MAX_STREAMS)
    limit = limit if 0 < limit <= MAX_STREAMS else MAX_STREAMS
    streams, count = await call.services.streams.list(
        call.principal, after=call.query.get("start_stream_name", ""), limit=limit
    )
    body = {
        "total_number": count,
        "stream_names": [stream.name for stream in streams],
        "has_more_streams": len(streams) == limit,
        "stream_info_list": [_stream(stream) for stream in streams],
    }
    return codec.json_response(200, body)


async def delete_stream(call: Call) -> Response:
    """Serve DeleteStream."""
    await call.services.streams.delete(call.principal, call.parameters["stream_name"])
    return codec.no_content()


async def send_records(call: Call) -> Response:
    """Serve SendRecords: all or none."""
    body = codec.decode(RecordsBody, call)
    records = [NewRecord(partition_key=record.partition_key, data=_data(record.data)) for record in body.records]
    numbers = await call.services.streams.append(call.principal, body.stream_name, records)
    results = [{"partition_id": PARTITION, "sequence_number": str(number)} for number in numbers]
    return codec.json_response(200, {"failed_record_count": 0, "records": results})


async def show_cursor(call: Call) -> Response:
    """Serve ShowCursor."""
    cursor = await call.services.streams.cursor(
        call.principal,
        call.query.get("stream-name", ""),
        kind=call.query.get("cursor-type", "AT_SEQUENCE_NUMBER"),
        sequence=call.query.get("starting-sequence-number", ""),
    )
    return codec.json_response(200, {"partition_cursor": cursor})


async def consume_records(call: Call) -> Response:
    """Serve ConsumeRecords."""
    records, following = await call.services.streams.read(
        call.principal, call.query.get("partition-cursor", ""), limit=MAX_RECORDS
    )
    body = {
        "records": [
            {
                "partition_key": record.partition_key,
                "sequence_number": str(record.sequence),
                "data": base64.b64encode(record.data).decode(),
                "timestamp": int(record.at * 1000),
                "timestamp_type": "CreateTime",
            }
            for record in records
        ],
        "next_partition_cursor": following,
    }
    return codec.json_response(200, body)


def _data(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ModelError("FSS.0400", "The data of a record must be base64.") from error


def _stream(stream: Stream) -> dict[str, Any]:
    return {
        "stream_name": stream.name,
        "create_time": int(stream.created_at * 1000),
        "retention_period": int(stream.retention_s // 3600),
        "status": "RUNNING",
        "stream_type": "COMMON",
        "data_type": "BLOB",
        "partition_count": 1,
        "max_bytes": stream.max_bytes,
    }
