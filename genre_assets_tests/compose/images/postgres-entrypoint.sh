#!/bin/sh
# The official entrypoint's contract, as far as docker-compose.yaml uses it: a folder is set up once, with a superuser's password.
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    mkdir -p "$PGDATA"
    chmod 700 "$PGDATA"
    printf '%s' "${POSTGRES_PASSWORD:?}" > /tmp/password
    initdb -D "$PGDATA" -U "${POSTGRES_USER:-postgres}" --pwfile=/tmp/password --auth-host=scram-sha-256 --auth-local=trust >/dev/null
    rm /tmp/password
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
fi
exec "$@" -c "listen_addresses=*" -c unix_socket_directories=/var/run/postgresql
