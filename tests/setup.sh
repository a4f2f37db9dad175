#!/bin/sh
# Installs what building and testing need and this machine lacks; quick when nothing is missing.
#
#   tests/setup.sh build    what `make demo` needs: a C compiler, cmake (pingora builds zlib-ng) and make (jemalloc, in what ships)
#   tests/setup.sh test     that, a Postgres server, nginx, faketime, promtool, and .venv with Flask and gunicorn
#   tests/setup.sh suites   that, and what `make suites` and `make clients` run: clients and test suites that Debian has.
#                           Those that cannot be installed are named and left out
#
#   tests/setup.sh bench    what `test` needs, and what `make bench-peers` and `make bench-check` run: wrk, h2load, haproxy,
#                           strace, valgrind
#
# As root on Debian or Ubuntu the packages are installed; for anybody else it prints what to install.
set -eu
cd "$(dirname "$0")/.."

missing=
lacks() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }

lacks cargo "rust-toolchain(https://rustup.rs)"
case "$missing" in
    *rust*) echo "setup: this project needs a Rust toolchain: see https://rustup.rs" >&2; exit 2 ;;
esac

lacks cc gcc
lacks c++ g++
lacks cmake cmake
lacks make make
# The commands that the demo prints.
lacks curl curl
if [ "${1:-build}" != build ]; then
    lacks python3 python3
    # The library that turns a gate's clock comes with the command.
    lacks faketime faketime
    lacks prlimit util-linux
    # The program, not the shell's own.
    [ -x /bin/kill ] || [ -x /usr/bin/kill ] || missing="$missing procps"
    # Debian puts nginx where only root's path leads.
    [ -x /usr/sbin/nginx ] || lacks nginx nginx-light
    # Debian splits venv's installer off; without it `python3 -m venv` fails half-way.
    python3 -c 'import ensurepip' >/dev/null 2>&1 || missing="$missing python3-venv"
    if [ "$1" = bench ]; then
        lacks wrk wrk
        lacks h2load nghttp2-client
        lacks valgrind valgrind
        lacks strace strace
        # Where only root's path leads.
        [ -x /usr/sbin/haproxy ] || lacks haproxy haproxy
    fi
    if [ -z "${TEST_DATABASE_URL:-}" ] && ! command -v initdb >/dev/null 2>&1 \
        && ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then
        missing="$missing postgresql"
    fi
fi

if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "setup: installing$missing"
        apt-get update -qq
        # shellcheck disable=SC2086  # a list of package names
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
    else
        echo "setup: missing here:$missing" >&2
        echo "setup: on Debian or Ubuntu: sudo apt-get install$missing" >&2
        exit 2
    fi
fi

if [ "${1:-build}" != build ] && ! command -v promtool >/dev/null 2>&1 && [ ! -x target/tools/promtool ]; then
    # Of Debian's package only the tool: to install the package would start a server. Nobody needs to be root for that.
    echo "setup: taking promtool out of Debian's package prometheus"
    mkdir -p target/tools/prometheus
    (
        cd target/tools/prometheus \
            && { apt-get download -qq prometheus || { apt-get update -qq && apt-get download -qq prometheus; }; } \
            && dpkg-deb --extract prometheus_*.deb . && mv usr/bin/promtool ..
    ) >/dev/null 2>&1 || echo "setup: left out: promtool, without which the tests of metrics and alerts are skipped"
    rm -rf target/tools/prometheus
fi

if [ "${1:-build}" = suites ]; then
    missing=
    lacks slowhttptest slowhttptest
    command -v testssl >/dev/null 2>&1 || lacks testssl.sh testssl.sh
    lacks openssl openssl
    lacks wget wget
    lacks chromium chromium
    lacks node nodejs
    lacks npm npm
    lacks java default-jdk-headless
    lacks go golang-go
    lacks ab apache2-utils
    lacks h2load nghttp2-client
    lacks caddy caddy
    perl -MLWP::UserAgent -MLWP::Protocol::https -e1 2>/dev/null || missing="$missing libwww-perl liblwp-protocol-https-perl"
    skipped=$missing
    if [ -n "$missing" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "setup: installing, for the suites:$missing"
        apt-get update -qq || true
        skipped=
        # One after the other: a distribution that lacks one of them may have the others.
        for package in $missing; do
            # Of caddy too, which would start: no service is started in this run level.
            RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null 2>&1 \
                || skipped="$skipped $package"
        done
    fi
    [ -z "$skipped" ] || echo "setup: left out, because they are not installed:$skipped (sudo apt-get install$skipped)"
    # What looks at the pages (tests/browser/pages.py).
    axe=axe-core@4.14.1
    if [ "$axe" != "$(cat target/node/installed.txt 2>/dev/null)" ]; then
        if command -v npm >/dev/null 2>&1 && mkdir -p target/node \
            && npm install --prefix target/node --no-save --no-audit --no-fund --ignore-scripts --silent "$axe"; then
            echo "$axe" >target/node/installed.txt
        else
            echo "setup: left out: $axe, which npm could not install"
        fi
    fi
    command -v h2spec >/dev/null 2>&1 || echo "setup: left out: h2spec (not in Debian: tests/suites/run.sh says where it is)"
fi

if [ "${1:-build}" != build ]; then
    wanted="tests/console/requirements.txt tests/clients/requirements.txt tests/api/requirements.txt tests/deploy/requirements.txt"
    # shellcheck disable=SC2086  # a list of files
    if ! cat $wanted | cmp -s - .venv/installed.txt; then
        echo "setup: installing what the Consoles and the clients of the tests need into .venv"
        python3 -m venv .venv
        # shellcheck disable=SC2086
        .venv/bin/pip install --quiet --disable-pip-version-check $(printf -- '-r %s ' $wanted)
        # shellcheck disable=SC2086
        cat $wanted >.venv/installed.txt
        rm -f .venv/package.txt
    fi
    # The wheel of Console's side, made anew when its source has changed.
    package=$(cat deploy/flask/pyproject.toml deploy/flask/*.py deploy/flask/console_gate/*.py | cksum)
    if [ "$package" != "$(cat .venv/package.txt 2>/dev/null)" ]; then
        rm -rf .venv/wheel && mkdir .venv/wheel
        # A copy, because setuptools writes beside what it builds.
        cp -R deploy/flask .venv/wheel/source
        .venv/bin/pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index \
            --wheel-dir .venv/wheel .venv/wheel/source
        .venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-index --force-reinstall \
            .venv/wheel/console_gate-*.whl
        echo "$package" >.venv/package.txt
    fi
fi
