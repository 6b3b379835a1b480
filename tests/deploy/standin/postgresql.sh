#!/bin/sh
# What the official image's entrypoint does, as far as compose.yaml relies on it; what a crash would leave is tried elsewhere.
set -eu
export PGDATA=/var/lib/postgresql/data
PATH=$(echo /usr/lib/postgresql/*/bin):/usr/sbin:/usr/bin:/sbin:/bin
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    install -d -o postgres -m 0700 "$PGDATA"
    setpriv --reuid=postgres --regid=postgres --clear-groups sh -euc '
        echo "$POSTGRES_PASSWORD" > /tmp/password
        initdb --username=postgres --pwfile=/tmp/password --auth-local=trust --auth-host=scram-sha-256 --no-sync
        echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
        pg_ctl --silent --wait --options="-c fsync=off -c listen_addresses= -c unix_socket_directories=/tmp" start
        for each in /docker-entrypoint-initdb.d/*.sh; do PGHOST=/tmp sh "$each"; done
        pg_ctl --silent --wait stop'
fi
exec setpriv --reuid=postgres --regid=postgres --clear-groups postgres -c listen_addresses="*" -c unix_socket_directories=/tmp -c shared_buffers=32MB -c fsync=off
