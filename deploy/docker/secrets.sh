#!/bin/sh
# Writes the secrets of compose.brook.yaml beside it, once: postgres.env, brook.env and gate.env, readable by you alone.
# Delete them, and the volumes (`docker compose -f compose.brook.yaml down --volumes`), to begin anew.
set -eu
cd "$(dirname "$0")"
umask 077
for file in postgres.env brook.env gate.env; do
    if [ -e "$file" ]; then
        echo "secrets.sh: $file is there already; nothing was changed" >&2
        exit 1
    fi
done

random() { head -c 32 /dev/urandom | base64 | tr -d '\n'; }
database=$(head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n')
session=$(random)
assertion="k1:$(random)"

cat >postgres.env <<END
POSTGRES_USER=brook
POSTGRES_DB=brook
POSTGRES_PASSWORD=$database
END
cat >brook.env <<END
BROOK_DATABASE=postgresql://brook:${database}@postgres:5432/brook
SECRET_KEY=$session
CONSOLE_GATE_KEYS=$assertion
END
cat >gate.env <<END
CONSOLE_GATE_DATABASE_URL=postgres://brook:${database}@postgres:5432/brook
CONSOLE_SECRET_KEY=$session
CONSOLE_GATE_KEYS=$assertion
CONSOLE_GATE_AUDIT_KEYS=a1:$(random)
END
echo "secrets.sh: wrote postgres.env, brook.env and gate.env"
