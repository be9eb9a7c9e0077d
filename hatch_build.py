"""What our wheel carries besides the packages: data files that lie at the top of the checkout, and the list of the servers.

Their place in it is `genre_assets/shipped/files`; `genre_assets/shipped/files.py` finds them. An editable installation
has them where they are.
"""

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

DATA = (
    "dagster.yaml", "workspace.yaml", "deploy/.env.example", "deploy/conda/environment.yaml", "deploy/conda/wheels.lock",
    "deploy/prometheus/prometheus.yml", "deploy/prometheus/rules", "deploy/alertmanager/alertmanager.yml",
)  # fmt: skip
PLACE = "genre_assets/shipped/files"


class ShippedFiles(BuildHookInterface):
    """Adds the files to a wheel that is no editable one."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name what is added; hatchling refuses to build without one of them."""
        if version == "editable":
            return
        root = Path(self.root)
        for path in DATA:
            build_data["force_include"][str(root / path)] = f"{PLACE}/{path}"
        build_data["force_include"][str(self._written_list(root))] = f"{PLACE}/servers.json"

    def finalize(self, _: str, __: dict[str, Any], ___: str) -> None:
        """Remove the list, which is in the wheel now."""
        (Path(self.directory) / "servers.json").unlink(missing_ok=True)

    def _written_list(self, root: Path) -> Path:
        sys.path.insert(0, str(root))
        from genre_assets.shipped.wheels import servers_as_json

        file = Path(self.directory) / "servers.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(servers_as_json((root / "uv.lock").read_text()))
        return file
