"""What the images are made of. `python -m genre_assets_tests.deploy.test_images` writes `imported.txt` anew."""

import ast
import sys

from genre_assets.shipped.files import PROJECT_ROOT

IMPORTED = PROJECT_ROOT / "deploy" / "images" / "imported.txt"
# Programs of libraries that containers run, and what dagster.yaml and Helm's values name.
PROGRAMS = {
    "dagster._cli", "dagster._daemon.cli", "dagster._grpc.server", "dagster_k8s", "dagster_postgres", "dagster_webserver.cli",
    "distributed.cli.dask_scheduler", "distributed.cli.dask_worker", "mlflow.cli", "mlflow.server",
}  # fmt: skip
# For the type checker alone, or of an extra that the image has not.
ABSENT = {"_typeshed", "mypy_boto3_s3", "mirdata", "triton_python_backend_utils"}


def imported() -> list[str]:
    """Every module of a library that ours import anywhere, by name."""
    found = set(PROGRAMS)
    for path in (PROJECT_ROOT / "genre_assets").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module)
    ours = {"genre_assets", *sys.stdlib_module_names, *ABSENT}
    return sorted(name for name in found if name.partition(".")[0] not in ours)


def test_the_image_has_the_bytecode_of_what_is_imported() -> None:
    """A module that is missing in the list is compiled at each start of each process in a container."""
    assert IMPORTED.read_text().split() == imported()


if __name__ == "__main__":
    IMPORTED.write_text("\n".join(imported()) + "\n")
