# Stands in for nvcr.io/nvidia/tritonserver:24.10-py3: the wheel's server of the same release at the image's own paths.
FROM python:3.11-slim-bookworm
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
COPY --from=ghcr.io/astral-sh/uv:0.13.9 /uv /usr/local/bin/uv
RUN uv venv -q /opt/wheel && uv pip install -q --python /opt/wheel --no-deps nvidia-pytriton==0.7.0 \
    && S=/opt/wheel/lib/python3.11/site-packages/pytriton/tritonserver \
    && mkdir -p /opt/tritonserver/bin /opt/tritonserver/backends/python /opt/wheel/server \
    && cp $S/backends/python/* $S/python_backend_stubs/3.11/triton_python_backend_stub /opt/tritonserver/backends/python/ \
    && ln -s $S/bin/tritonserver /opt/wheel/server/tritonserver
COPY --chmod=755 tritonserver.sh /opt/tritonserver/bin/tritonserver
ENTRYPOINT ["/opt/nvidia/nvidia_entrypoint.sh"]
