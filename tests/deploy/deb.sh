#!/bin/sh
# Makes the Debian package of what `make dist` has built, and looks at it: what is in it, that its program runs, that
# systemd can read its unit; and lintian's errors, where lintian is installed.
set -eu
cd "$(dirname "$0")/../.."

mkdir -p dist/deb
# A package's programs are in /usr/bin.
sed 's#/usr/local/#/usr/#g' deploy/systemd/console-gate.service >dist/deb/console-gate.service
rm -f dist/*.deb
# shellcheck disable=SC2086  # flags
cargo deb --no-build --output dist/ ${DEB_FLAGS:-}
package=$(ls dist/*.deb)

unpacked=$(mktemp -d)
trap 'rm -rf "$unpacked"' EXIT
dpkg-deb --extract "$package" "$unpacked"
for file in usr/bin/console-gate etc/console-gate/gate.toml usr/lib/sysusers.d/console-gate.conf \
    usr/share/man/man1/console-gate.1.gz usr/share/bash-completion/completions/console-gate \
    usr/share/zsh/vendor-completions/_console-gate usr/share/fish/vendor_completions.d/console-gate.fish \
    usr/share/doc/console-gate/examples/gate.toml; do
    [ -s "$unpacked/$file" ] || { echo "deb: $package lacks $file" >&2; exit 1; }
done
find "$unpacked" -path '*/systemd/system/console-gate.service' | grep -q . || { echo "deb: no unit" >&2; exit 1; }
dpkg-deb --info "$package" conffiles | grep -qx /etc/console-gate/gate.toml
dpkg-deb --info "$package" postinst | grep -q systemd-sysusers
"$unpacked/usr/bin/console-gate" --version
if command -v lintian >/dev/null; then
    lintian --fail-on error "$package"
fi
ls -l "$package"
