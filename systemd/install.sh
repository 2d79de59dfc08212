#!/bin/sh
# Installs the gateway as a systemd service, or brings an installation up to date. What is there of the operator's
# stays: the configuration, the drop-ins, the key. Nothing is started.
#
#   systemd/install.sh [PACKAGE]       PACKAGE is a wheel or source archive, or this checkout if absent
#   systemd/install.sh --no-package    units, configuration and plugins only
#
# What the gateway needs is installed in the versions of distribution/locks, with their hashes checked. PYTHON is the
# interpreter to make the environment with (python3), LOCKS another folder with gateway.txt and build.txt. With DESTDIR
# everything goes below that folder.
set -eu
umask 022

here=$(cd "$(dirname "$0")" && pwd)
top=$(dirname "$here")
root=${DESTDIR-}
home=/opt/icws
python=${PYTHON:-python3}
locks=${LOCKS:-$top/distribution/locks}

say() { printf '%s\n' "$*"; }
fail() { say "install.sh: $*" >&2; exit 1; }

has_pip() { "$root$home/bin/python" -I -m pip --version >/dev/null 2>&1; }

install_package() {
    if grep -qsx deb "$root$home"/lib/python3*/site-packages/icws-*.dist-info/INSTALLER; then
        fail "$home is the Debian package's; remove it first (apt remove icws), or install a newer package"
    fi
    real=$("$python" -c 'import os, sys; print(os.path.realpath(sys.executable))') || fail "$python does not run"
    case $real in
        /usr/* | /bin/* | $home/*) ;;
        *) fail "$real cannot run under the service, which executes nothing outside of /usr and $home; set PYTHON" ;;
    esac
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "Python 3.11 or newer is needed; set PYTHON"
    # Also where an earlier attempt ended before there was a pip, as on a Debian without python3-venv.
    has_pip || "$python" -m venv "$root$home"
    pip="$root$home/bin/python -I -m pip install --quiet --disable-pip-version-check"
    wheels=$(mktemp -d)
    trap 'rm -rf "$wheels"' EXIT
    case $1 in
        *.whl) cp "$1" "$wheels" ;;
        *) build_wheel "$1" "$wheels" ;;
    esac
    $pip --upgrade --require-hashes --requirement "$locks/gateway.txt"
    # by force: a wheel of the version that is there may have been built anew
    $pip --force-reinstall --no-deps --no-index "$wheels"/*.whl
    "$root$home/bin/python" -I -m pip --disable-pip-version-check check ||
        fail "$1 needs other versions than $locks/gateway.txt has; use the install.sh of its own version"
    [ -z "$root" ] || sed -i "1s|^#!$root|#!|" "$root$home"/bin/*
    say "$home: $("$root$home/bin/python" -I -m appliance.cli --version)"
}

# With a maturin of a locked version, which uses the locked crates, and not in the environment that is installed.
build_wheel() { # SOURCE FOLDER
    "$python" -m venv --without-pip "$2/build"
    builder="$root$home/bin/python -I -m pip --disable-pip-version-check --quiet --python $2/build/bin/python"
    $builder install --require-hashes --requirement "$locks/build.txt"
    PATH="$2/build/bin:$PATH" $builder wheel --no-deps --no-build-isolation --wheel-dir "$2" "$1"
}

# The shipped configuration, with its own data where the unit lets it write.
configuration() {
    sed -e 's|^  identity: data/identity\.pem$|  identity: /var/lib/icws/identity.pem|' \
        -e 's|^  listen: \[unix:data/control\.sock\]$|  listen: [unix:/run/icws/control.sock]|' \
        -e '/^metrics:/,/^$/s|^  listen: null$|  listen: 127.0.0.1:9464|' \
        -e 's|^  history: data/history$|  history: /var/lib/icws/history|' "$top/gateway.yaml"
}

put() { # SOURCE TARGET
    mkdir -p "$root$(dirname "$2")"
    if cmp -s "$1" "$root$2"; then return; fi
    install -m 644 "$1" "$root$2"
    say "$2"
}

case ${1-} in
    --no-package) ;;
    -*) fail "unknown option $1" ;;
    *) install_package "${1:-$top}" ;;
esac

mkdir -p "$root/usr/local/bin"
ln -sfn $home/bin/icws "$root/usr/local/bin/icws"
for unit in icws.service icws.socket icws-metrics.socket icws-operators.socket icws-outbound.service icws-outbound.socket; do
    put "$here/$unit" "/usr/local/lib/systemd/system/$unit"
done
for plugin in "$top"/plugins/*.py; do
    put "$plugin" "$home/plugins/$(basename "$plugin")"
done
for dropin in "$here"/drop-ins/*.conf; do
    put "$dropin" "$home/share/drop-ins/$(basename "$dropin")"
done
if [ ! -e "$root/etc/icws/gateway.yaml" ]; then
    mkdir -p "$root/etc/icws"
    # Beside it first: a half one, on a full disk, would be kept as the operator's.
    draft=$(mktemp "$root/etc/icws/.gateway.yaml.XXXXXX")
    { configuration > "$draft" && chmod 644 "$draft" && mv "$draft" "$root/etc/icws/gateway.yaml"; } || {
        rm -f "$draft"
        fail "$root/etc/icws/gateway.yaml cannot be written"
    }
    say /etc/icws/gateway.yaml
fi

if [ -z "$root" ] && [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
say "Installed. List canisters in /etc/icws/gateway.yaml, then: systemctl enable --now icws"
