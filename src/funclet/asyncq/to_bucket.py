"""Destination `OBS`: the document becomes an object of the store that is connected, or of the data folder."""

from datetime import UTC, datetime

from funclet.asyncq.delivery import Delivery, DeliveryFailed, Destination
from funclet.asyncq.destinations import text_of
from funclet.model.errors import ModelError
from funclet.model.messaging import check_bucket_name
from funclet.outside.objects import DAY_S, FolderFull, ObjectStores
from funclet.outside.outgoing import SendFailed
from funclet.outside.s3 import S3Failed
from funclet.store.protocol import StoreUnavailable
from funclet.vault import VaultError

MAX_EXPIRES_DAYS = 365
MAX_PREFIX_BYTES = 512
MAX_PART_BYTES = 255


class BucketDeliverer:
    """Puts the document into `bucket` below `prefix`, to be deleted after `expires` days; 0 is never."""

    def __init__(self, stores: ObjectStores) -> None:
        self._stores = stores

    def check(self, destination: Destination) -> None:
        """Refuse names that no bucket or object can have, and an end that is out of range.

        Raises:
            ModelError: FSS.0400.
        """
        check_bucket_name(text_of(destination, "bucket"))
        _prefix(destination)
        _expires_days(destination)

    async def deliver(self, delivery: Delivery) -> None:
        """Store the document.

        Raises:
            DeliveryFailed: it is not stored.
        """
        destination = delivery.destination
        # The place in the chain of whatever the object starts.
        metadata = {"fgs-root": delivery.root_request_id, "fgs-depth": str(delivery.depth + 1)}
        try:
            await self._stores.put(
                delivery.project_id,
                text_of(destination, "bucket"),
                key_of(delivery),
                delivery.document,
                metadata=metadata,
                expires_s=_expires_days(destination) * DAY_S,
            )
        except S3Failed as error:
            raise DeliveryFailed(str(error), is_permanent=error.is_permanent) from error
        except SendFailed as error:
            raise DeliveryFailed(str(error), is_permanent=error.is_refused) from error
        except (FolderFull, VaultError) as error:
            raise DeliveryFailed(str(error), is_permanent=True) from error
        except OSError as error:
            raise DeliveryFailed(f"the data folder cannot be written: {error.strerror}") from error
        except StoreUnavailable as error:
            raise DeliveryFailed("the database cannot be used now") from error


def key_of(delivery: Delivery) -> str:
    """Return the key of the object: prefix, function, day (UTC), request and outcome."""
    day = datetime.fromtimestamp(delivery.ended_at, UTC).strftime("%Y/%m/%d")
    name = f"{delivery.request_id}-{'success' if delivery.is_success else 'failure'}.json"
    prefix = _prefix(delivery.destination)
    return "/".join((*((prefix,) if prefix else ()), delivery.function_name, day, name))


def _prefix(destination: Destination) -> str:
    """Return the prefix without the slashes around it."""
    value = destination.param.get("prefix", "")
    if not isinstance(value, str):
        raise ModelError("FSS.0400", "The prefix must be a text.")
    prefix = value.strip("/")
    parts = prefix.split("/") if prefix else []
    is_sound = prefix.isprintable() and len(prefix.encode(errors="replace")) <= MAX_PREFIX_BYTES
    if not is_sound or any(part in ("", ".", "..") or len(part.encode()) > MAX_PART_BYTES for part in parts):
        raise ModelError(
            "FSS.0400",
            f"The prefix '{prefix[:80]}' is invalid: at most {MAX_PREFIX_BYTES} bytes of printable text, "
            f"no part empty, '.', '..' or longer than {MAX_PART_BYTES} bytes.",
        )
    return prefix


def _expires_days(destination: Destination) -> int:
    value = destination.param.get("expires", 0)
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:6])
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_EXPIRES_DAYS:
        raise ModelError("FSS.0400", f"expires must be a number of days from 0 (never) to {MAX_EXPIRES_DAYS}.")
    return value
