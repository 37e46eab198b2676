"""Objects in any store that speaks S3: path style, signed with AWS Signature Version 4. Start with `S3.put`."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from funclet.base.clock import Clock
from funclet.outside.outgoing import MAX_ANSWER_BYTES, Outgoing, Sent

_ALGORITHM = "AWS4-HMAC-SHA256"
_REQUEST_S = 30.0
# Of an object that may have hundreds of megabytes.
_READ_S = 120.0
_CODE = re.compile(rb"<Code>([A-Za-z0-9]{1,64})</Code>")
_OK, _NOT_FOUND, _CONFLICT, _TOO_MANY, _SERVER_ERROR, _TIMEOUT = 200, 404, 409, 429, 500, 408
_MAX_OK = 299
# Regions that are named in the body of a request for a bucket; the first one of S3 must not be.
_UNNAMED_REGION = "us-east-1"


class S3Failed(Exception):
    """The store has refused; the message says with what."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(f"the object store answered {status} {code}".rstrip())
        self.code = code
        self.is_permanent = status < _SERVER_ERROR and status not in (_TIMEOUT, _TOO_MANY, _CONFLICT)


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Credentials:
    """Who signs, for which region. The secret stays out of `repr`."""

    access: str
    secret: str = field(repr=False)
    region: str


class S3:
    """One store. Every method raises S3Failed when it refuses, and SendFailed when it does not answer."""

    def __init__(self, outgoing: Outgoing, endpoint: str, credentials: S3Credentials, clock: Clock) -> None:
        self._outgoing = outgoing
        self._endpoint = endpoint.rstrip("/")
        self._credentials = credentials
        self._clock = clock

    async def put(self, bucket: str, key: str, body: bytes, *, content_type: str, metadata: Mapping[str, str]) -> None:
        """Store an object; a bucket that is missing is made."""
        headers = {"content-type": content_type} | {f"x-amz-meta-{name}": text for name, text in metadata.items()}
        try:
            await self._send("PUT", f"/{bucket}/{key}", headers=headers, body=body)
        except S3Failed as error:
            if error.code != "NoSuchBucket":
                raise
            await self._make(bucket)
            await self._send("PUT", f"/{bucket}/{key}", headers=headers, body=body)

    async def get(self, bucket: str, key: str, *, max_bytes: int) -> bytes:
        """Return an object.

        Raises:
            AnswerTooLarge: it is larger than `max_bytes`.
        """
        answer = await self._send("GET", f"/{bucket}/{key}", within_s=_READ_S, max_answer_bytes=max_bytes)
        return answer.body

    async def delete(self, bucket: str, key: str) -> None:
        """Delete an object; nothing happens if there is none."""
        try:
            await self._send("DELETE", f"/{bucket}/{key}")
        except S3Failed as error:
            if error.code not in ("NoSuchBucket", "NoSuchKey"):
                raise

    async def check(self) -> None:
        """List the buckets, which shows that address and credentials are right."""
        await self._send("GET", "/")

    async def _make(self, bucket: str) -> None:
        region = self._credentials.region
        body = (
            f"<CreateBucketConfiguration><LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
        )
        try:
            await self._send("PUT", f"/{bucket}", body=b"" if region == _UNNAMED_REGION else body.encode())
        except S3Failed as error:
            # Another delivery has made it meanwhile.
            if error.code != "BucketAlreadyOwnedByYou":
                raise

    async def _send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        within_s: float = _REQUEST_S,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
    ) -> Sent:
        encoded = quote(path, safe="/~")
        at = datetime.fromtimestamp(self._clock.now(), UTC)
        signed = sign(
            method,
            encoded,
            headers={"host": urlsplit(self._endpoint).netloc, **(headers or {})},
            body=body,
            at=at,
            credentials=self._credentials,
        )
        # The client writes its own.
        del signed["host"]
        url = self._endpoint + encoded
        answer = await self._outgoing.send(
            method, url, headers=signed, body=body, within_s=within_s, max_answer_bytes=max_answer_bytes
        )
        if not _OK <= answer.status <= _MAX_OK:
            code = _CODE.search(answer.body)
            raise S3Failed(answer.status, code[1].decode() if code else "")
        return answer


def sign(
    method: str, path: str, *, headers: Mapping[str, str], body: bytes, at: datetime, credentials: S3Credentials
) -> dict[str, str]:
    """Return `headers` with those that sign the request.

    Args:
        method: upper case.
        path: percent-encoded, as it is sent; there is no query.
        headers: all that are signed, by names in lower case; `host` is among them.
        body: the bytes sent.
        at: now, UTC.
        credentials: of the signer.
    """
    digest = hashlib.sha256(body).hexdigest()
    stamp, day = at.strftime("%Y%m%dT%H%M%SZ"), at.strftime("%Y%m%d")
    everything = {**headers, "x-amz-content-sha256": digest, "x-amz-date": stamp}
    names = sorted(everything)
    lines = "".join(f"{name}:{everything[name].strip()}\n" for name in names)
    canonical = "\n".join((method, path, "", lines, ";".join(names), digest))
    scope = f"{day}/{credentials.region}/s3/aws4_request"
    text = f"{_ALGORITHM}\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{credentials.secret}".encode()
    for part in (day, credentials.region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.new(key, text.encode(), "sha256").hexdigest()
    everything["authorization"] = (
        f"{_ALGORITHM} Credential={credentials.access}/{scope}, SignedHeaders={';'.join(names)}, Signature={signature}"
    )
    return everything
