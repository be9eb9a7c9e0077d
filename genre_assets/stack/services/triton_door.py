"""The door before Triton as a local service: what clients ask, at the ports that they know."""

import sys

from genre_assets.errors import PermanentFailure, TransientFailure
from genre_assets.packaging.model_repository import ModelRepository
from genre_assets.settings import Settings
from genre_assets.stack.supervision.service import Health, Service
from genre_assets.triton.control import TritonControl
from genre_assets.triton.door.rules import GRACE_SECONDS
from genre_assets.triton.known_clip import known_clip

GRPC_LIVE = "/inference.GRPCInferenceService/ServerLive"
GRPC_SECONDS = 3.0
CLIP_SECONDS = 5.0
# By default each message is asked of the system and given back, page by page: a third of the door's work. Larger ones
# than these still are.
MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 * 2**20), "MALLOC_TRIM_THRESHOLD_": str(64 * 2**20)}


class TritonDoor(Service):
    """Holds nothing: killed, it is started again, and clients send again what was on its way."""

    name = "triton-door"
    needs = ("triton",)  # without it, it is not to blame
    stop_timeout = GRACE_SECONDS + 3.0

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.repository = ModelRepository(settings.repository)
        self.control = TritonControl.from_settings(settings)

    @property
    def ports(self) -> dict[str, int]:
        """HTTP and gRPC, as clients know them."""
        s = self.settings
        return {"triton_http_port": s.triton_http_port, "triton_grpc_port": s.triton_grpc_port}

    def command(self) -> list[str]:
        """The door; it reads its settings, and with them what Triton knows it by, from the state folder."""
        return [sys.executable, "-m", "genre_assets.triton.door"]

    def environment(self) -> dict[str, str]:
        """Where the settings are, and memory that is kept for the next request."""
        return {"GENRE_HOME": str(self.settings.home), **MEMORY}

    def health(self) -> Health:
        """Healthy when Triton answers through both doors what a client would ask."""
        if not self.control.live():
            return Health(healthy=False, why=f"{self.control.url} does not answer through to Triton")
        if why := _grpc_trouble(self.settings.triton_grpc):
            return Health(healthy=False, why=f"gRPC at {self.settings.triton_grpc}: {why}")
        if not self.repository.is_released:
            return Health(healthy=True)
        try:
            self.control.probe(known_clip(), timeout=CLIP_SECONDS)
        except (PermanentFailure, TransientFailure) as error:
            return Health(healthy=False, why=str(error))
        return Health(healthy=True)


def _grpc_trouble(address: str) -> str:
    """Why the server does not answer by gRPC; empty if it does."""
    import grpc

    with grpc.insecure_channel(address, options=(("grpc.use_local_subchannel_pool", 1),)) as channel:
        try:
            channel.unary_unary(GRPC_LIVE)(b"", timeout=GRPC_SECONDS)
        except grpc.RpcError as error:
            return str(error.code().name).lower() if isinstance(error, grpc.Call) else str(error)
    return ""
