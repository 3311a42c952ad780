#!/bin/sh
# The programs that are not Python packages: looks for them, and installs those that are missing where it can
# (Debian and Ubuntu, as root or with a sudo that asks nothing). Elsewhere it says what to install and stops.
#
#   tools/system.sh python PYTHON    PYTHON is 3.11 or newer and can make virtual environments
#   tools/system.sh node             Node 20 or newer, with npm
#   tools/system.sh chromium         a Chromium for the browser tests (VENV: the environment that has Playwright)
set -eu

say() { echo "==> $*"; }
stop() { echo "!!! $*" >&2; exit 1; }

install() {
    if ! command -v apt-get >/dev/null; then
        stop "Please install $* by your system's package manager, then run make again."
    elif [ "$(id -u)" = 0 ]; then
        root=""
    elif sudo -n true 2>/dev/null; then
        root="sudo"
    else
        stop "Please run 'sudo apt-get install $*', then run make again."
    fi
    say "installing $* by apt-get (about a minute)"
    $root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    $root env DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends -y "$@" >/dev/null
}

case "$1" in
python)
    python="$2"
    command -v "$python" >/dev/null || install python3 python3-venv
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        stop "constraints.txt pins versions for Python 3.11 and newer; $python is $("$python" -V)." \
            "Name another one: make PYTHON=python3.12 ..."
    # Debian splits ensurepip off into a package of its own
    "$python" -c 'import ensurepip, venv' 2>/dev/null || install python3-venv
    ;;
node)
    command -v node >/dev/null || install nodejs npm
    command -v npm >/dev/null || install npm
    [ "$(node -p 'parseInt(process.versions.node)')" -ge 20 ] ||
        stop "Node 20 or newer builds the front end; this one is $(node --version). See https://nodejs.org."
    ;;
chromium)
    for name in chromium chromium-browser google-chrome; do
        if command -v "$name" >/dev/null; then exit 0; fi
    done
    # Ubuntu's chromium is a snap, which a container or a CI machine often cannot run: there Playwright brings its own.
    if command -v apt-get >/dev/null && ! grep -qi '^ID=ubuntu' /etc/os-release; then
        install chromium
    else
        say "installing Playwright's Chromium (about a minute)"
        "$VENV/bin/playwright" install --with-deps chromium
    fi
    ;;
*)
    stop "unknown: $1"
    ;;
esac
