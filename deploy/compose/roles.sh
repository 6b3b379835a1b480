#!/bin/sh
# The two roles of docs/production.md, made once, when the database is new.
set -eu
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username postgres --dbname postgres <<'SQL'
\getenv owner OWNER_PASSWORD
\getenv server SERVER_PASSWORD
CREATE ROLE grantlog_owner LOGIN PASSWORD :'owner';
CREATE ROLE grantlog_server LOGIN PASSWORD :'server';
CREATE DATABASE grantlog OWNER grantlog_owner ENCODING 'UTF8' TEMPLATE template0;
SQL
