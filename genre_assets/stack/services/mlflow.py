"""The MLflow server: two processes over PostgreSQL, artifacts in the object store."""

import sys
from pathlib import Path
from urllib.parse import urlsplit

from genre_assets.stack.supervision.service import Health, Service, http_health


class MLflow(Service):
    """Tracking server, registry and UI."""

    name = "mlflow"
    needs = ("postgres", "s3")

    @property
    def ports(self) -> dict[str, int]:
        """The port of the server and its UI."""
        return {"mlflow_port": self.settings.mlflow_port}

    def addresses(self) -> dict[str, str]:
        """The UI."""
        s = self.settings
        return {"url": s.mlflow_url if self.contained else f"http://{s.host}:{s.mlflow_port}"}

    def command(self) -> list[str]:
        """The server; its database address travels in the environment."""
        return [
            str(Path(sys.executable).with_name("mlflow")), "server",
            "--host", self.settings.host, "--port", str(self.settings.mlflow_port), "--workers", "1",
            *self._allowed_hosts(),
        ]  # fmt: skip

    def _allowed_hosts(self) -> list[str]:
        """By itself it answers to local names alone, and to every other with 403."""
        s = self.settings
        if not (self.contained or s.mlflow_allowed_hosts):
            return []
        own = [urlsplit(address).netloc for address in (self.addresses()["url"], s.mlflow_url, s.mlflow_link)]
        local = [f"localhost:{s.mlflow_port}", f"127.0.0.1:{s.mlflow_port}"]
        return ["--allowed-hosts", ",".join(dict.fromkeys([*own, *local, *s.mlflow_allowed_hosts]))]

    def environment(self) -> dict[str, str]:
        """Stores; the job runner of MLflow 3 (eight more processes) stays off."""
        s = self.settings
        return {
            "MLFLOW_BACKEND_STORE_URI": s.mlflow_database_url.get_secret_value(),
            "MLFLOW_SERVE_ARTIFACTS": "true",
            "MLFLOW_ARTIFACTS_DESTINATION": f"s3://{s.mlflow_bucket}",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_S3_ENDPOINT_URL": s.s3_endpoint_url or "",
            "AWS_ACCESS_KEY_ID": s.s3_access_key,
            "AWS_SECRET_ACCESS_KEY": s.s3_secret_key.get_secret_value(),
            "AWS_DEFAULT_REGION": s.s3_region,
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        }

    def health(self) -> Health:
        """Healthy when it searches its experiments, which its database answers."""
        return http_health(f"{self.addresses()['url']}/api/2.0/mlflow/experiments/search?max_results=1", timeout=8.0)
