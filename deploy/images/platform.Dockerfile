# Dagster's three processes, MLflow and the command line: one image from the lock file.
FROM python:3.11-slim-bookworm
COPY --from=ghcr.io/astral-sh/uv:0.9 /uv /usr/local/bin/uv
ENV UV_PROJECT_ENVIRONMENT=/opt/venv UV_LINK_MODE=copy PATH=/opt/venv/bin:$PATH DAGSTER_HOME=/opt/dagster
WORKDIR /opt/genre_assets
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN uv sync --frozen --no-install-project --extra dask --extra k8s
COPY genre_assets genre_assets
COPY triton_models triton_models
COPY deploy/conda deploy/conda
COPY dagster.yaml workspace.yaml ./
RUN uv sync --frozen --extra dask --extra k8s && mkdir -p /opt/dagster /var/lib/genre && cp dagster.yaml /opt/dagster/ \
    && useradd --system --home /var/lib/genre genre && chown -R genre /opt/dagster /var/lib/genre
USER genre
