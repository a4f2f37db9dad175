#!/bin/sh
# Test suites that others wrote, run against gates that this script starts: the real binary, SQLite, a small upstream.
#
#   slowhttptest  slow headers, slow bodies, slow reads. `apt-get install slowhttptest`
#   h2spec        HTTP/2 as RFC 7540 and RFC 7541 have it, in clear and over TLS. Not in Debian: a binary from
#                 github.com/summerwind/h2spec/releases, or `go install github.com/summerwind/h2spec/cmd/h2spec@latest`
#                 (its source also builds with the Go and the libraries of Debian 12: golang-golang-x-net-dev,
#                 golang-github-spf13-cobra-dev, golang-github-fatih-color-dev, with GO111MODULE=off)
#   testssl.sh    TLS as the gate ends it. `apt-get install testssl.sh openssl`
#   clients       real clients against Console directly and through the gate (tests/clients); those that are not installed
#                 are named in target/tmp/skipped.txt. `tests/setup.sh suites` installs what Debian has of all these
#   browser       in Chromium: break-glass with a virtual authenticator, and the gate's pages, looked at by axe
#                 (tests/browser). `apt-get install chromium`
#
# It says which ran, which are missing, and fails when one has found something: when others were not served meanwhile,
# when a slow head or body was still connected after the time that it is given, when a case of h2spec failed, or when
# testssl.sh has anything to say of low severity or worse, or when a client's answers differ. Everything stays on 127.0.0.1.
#
#   tests/suites/run.sh [SUITE...]       these suites only
#   GATE=target/release/console-gate CONNECTIONS=500 SECONDS_EACH=40 tests/suites/run.sh
set -eu
cd "$(dirname "$0")/../.."

suites=${*:-slowhttptest h2spec testssl.sh clients browser}
gate=${GATE:-target/debug/console-gate}
connections=${CONNECTIONS:-500}
seconds=${SECONDS_EACH:-40}
head_timeout=8
body_timeout=15
port=${GATE_PORT:-18480}
tls_port=$((port + 1))
upstream=$((port + 2))

[ -x "$gate" ] || { echo "suites: $gate is not built" >&2; exit 2; }
# Each connection is two files to the gate and one to the attacker.
ulimit -n 8192 2>/dev/null || true

folder=$(mktemp -d)
processes=
# shellcheck disable=SC2329  # called by the trap
clean_up() {
    for process in $processes; do kill "$process" 2>/dev/null || true; done
    rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# start NAME PORT: a gate, with what comes on standard input at the end of its settings; its process is in $started.
start() {
    mkdir "$folder/$1"
    cat >"$folder/$1/gate.toml" <<SETTINGS
environment = "development"
[upstream]
servers = ["127.0.0.1:$upstream"]
[database]
url = "sqlite:gate.sqlite"
[firewall]
head_timeout_ms = $((head_timeout * 1000))
body_timeout_ms = $((body_timeout * 1000))
[listen]
proxy = "127.0.0.1:$2"
admin = "unix:$folder/$1/admin.sock"
upgrade_socket = "$folder/$1/upgrade.sock"
$(cat)
SETTINGS
    cat >"$folder/$1/routes.toml" <<'ROUTES'
version = 1
[blueprints.suites.routes]
"GET /" = { public = true }
"* /public/*" = { public = true }
ROUTES
    (
        export CONSOLE_GATE_CONFIG="$folder/$1/gate.toml" CONSOLE_SECRET_KEY=suites
        export CONSOLE_GATE_KEYS=k1:c3VpdGVzLXN1aXRlcy1zdWl0ZXMtc3VpdGVzLXN1aXRlcw==
        export CONSOLE_GATE_AUDIT_KEYS=a1:c3VpdGVzLWF1ZGl0LXN1aXRlcy1hdWRpdC1zdWl0ZXMtYQ==
        "$gate" migrate --seed rbac-v2 || exit
        exec "$gate" serve
    ) >"$folder/$1/log" 2>&1 &
    started=$!
    processes="$processes $started"
    python3 tests/suites/bystander.py open "$2" 60 || { cat "$folder/$1/log" >&2; exit 2; }
}

python3 tests/suites/upstream.py "$upstream" &
processes="$processes $!"
start plain "$port" <<SETTINGS
h2c = true
SETTINGS
gate_process=$started
python3 tests/suites/bystander.py wait "$port" 60 || { cat "$folder/plain/log" >&2; exit 2; }

ran= missing= failed=

fault() {
    echo "suites: $1: $2" >&2
    failed="$failed $1"
}

# slow NAME LAST ARGUMENTS...: slowhttptest, with somebody beside it who only wants to be served. LAST is when, in
# seconds from the start, no connection of the attacker may be left; 0 sets no such time.
slow() {
    name=$1 last=$2
    shift 2
    echo "== $name: $connections connections for $seconds s"
    python3 tests/suites/bystander.py watch "$port" "$((seconds + 1))" "$last" >"$folder/$name.seen" &
    watcher=$!
    processes="$processes $watcher"
    slowhttptest -c "$connections" -r "$connections" -l "$seconds" -p 5 -v 1 "$@" >"$folder/$name.out" 2>&1 || true
    # Its last report, without the colours.
    sed 's/\x1b\[[0-9;]*m//g' "$folder/$name.out" \
        | grep -aE '^(connected|error|closed|service available|Test ended|Exit status):? ' | tail -n 6 | sed 's/^/   /'
    wait "$watcher" || fault "$name" "others were not served, or slow ones were kept"
    cat "$folder/$name.seen"
    kill -0 "$gate_process" 2>/dev/null || { cat "$folder/plain/log" >&2; fault "$name" "the gate has ended"; exit 1; }
}

# wanted SUITE COMMAND...: whether to run it; what is wanted and not there is noted.
wanted() {
    case " $suites " in *" $1 "*) ;; *) return 1 ;; esac
    suite=$1
    shift
    for name in "$@"; do
        command -v "$name" >/dev/null 2>&1 || { missing="$missing $suite"; return 1; }
    done
    ran="$ran $suite"
}

# start_tls: the gate with TLS, once, with a certificate that is nobody's.
start_tls() {
    [ ! -d "$folder/tls" ] || return 0
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost -keyout "$folder/key.pem" -out "$folder/certificate.pem" 2>/dev/null
    start tls "$tls_port" <<SETTINGS
[tls]
certificate_file = "$folder/certificate.pem"
key_file = "$folder/key.pem"
http2 = true
SETTINGS
}

if wanted slowhttptest slowhttptest; then
    url="http://127.0.0.1:$port/public"
    # A head is given $head_timeout s, and its refusal one more to be read. A body is looked at when a piece of it comes,
    # every 5 s here. The rest is for a busy machine.
    slow slow-headers "$((head_timeout + 10))" -H -i 2 -x 24 -u "$url/ping"
    slow slow-bodies "$((body_timeout + 15))" -B -i 5 -s 8192 -x 10 -u "$url/form"
    slow slow-reads 0 -X -w 10 -y 20 -n 5 -z 32 -k 3 -u "$url/large"
fi

# h2 NAME PORT ARGUMENTS...: h2spec, and which cases failed.
h2() {
    name=$1 at=$2
    shift 2
    echo "== $name"
    h2spec -h 127.0.0.1 -p "$at" -P /public/ping -o 5 "$@" >"$folder/$name" 2>&1 \
        || fault "$name" "cases failed"
    sed -n '/^Failures/,/^Finished/p' "$folder/$name"
    grep -aE '^[0-9]+ tests, ' "$folder/$name" || fault "$name" "it did not finish"
}

if wanted h2spec h2spec openssl; then
    # Without http2/3.5/2: what does not begin as HTTP/2 is HTTP/1 to a port that speaks both, and is answered so.
    h2 h2spec-clear "$port" generic hpack http2/3.5/1 http2/4 http2/5 http2/6 http2/7 http2/8
    start_tls
    h2 h2spec-tls "$tls_port" -t -k generic hpack http2
fi

testssl=$(command -v testssl || command -v testssl.sh || echo testssl.sh)
if wanted testssl.sh "$testssl" openssl; then
    echo "== testssl.sh"
    start_tls
    # Protocols, ciphers, forward secrecy, vulnerabilities; not the certificate, which is nobody's.
    "$testssl" --quiet --color 0 --ip one --severity LOW --jsonfile "$folder/testssl.json" -p -s -f -U \
        "localhost:$tls_port" >"$folder/testssl" 2>&1 || true
    grep -aE '^ *(SSLv|TLS 1|NPN|ALPN|[A-Z].*\((CVE|RFC|OK))' "$folder/testssl" || cat "$folder/testssl"
    if grep -qE '"severity" *: *"(LOW|MEDIUM|HIGH|CRITICAL)"' "$folder/testssl.json"; then
        grep -E '"(id|severity|finding)"' "$folder/testssl.json" >&2
        fault testssl.sh "findings"
    fi
    grep -aq 'Done ' "$folder/testssl" || fault testssl.sh "it did not finish"
fi

if wanted clients .venv/bin/python; then
    echo "== clients"
    GATE_TIER=all GATE=$gate .venv/bin/python tests/clients/test_clients.py || fault clients "answers differ: target/tmp/clients"
fi

if wanted browser chromium .venv/bin/python; then
    echo "== browser"
    GATE=$gate .venv/bin/python tests/browser/break_glass.py || fault browser "a passkey in Chromium did not start a session"
    GATE=$gate .venv/bin/python tests/browser/identity.py || fault browser "a login in Chromium did not go as a person would do it"
    GATE=$gate .venv/bin/python tests/browser/pages.py || fault browser "axe or a person would complain of a page"
fi

python3 tests/suites/bystander.py wait "$port" 10 || fault gate "it does not answer after the suites"
echo "suites: ran:${ran:- none}"
echo "suites: missing:${missing:- none}"
[ -z "$failed" ] || { echo "suites: FAILED:$failed" >&2; exit 1; }
[ -n "$ran" ] || echo "suites: nothing was proven"
