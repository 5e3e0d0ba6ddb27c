#!/bin/sh
# Installs LeviBot as a systemd service, or removes it. Run it by `make install-service`, `make uninstall-service`.
#
# DESTDIR=…       stage everything below this folder, for a package: no user is made, systemd is not told
# PREFIX=…        where the virtual environment goes (default /opt/levibot)
# PYTHON=…        the interpreter of that environment (default python3)
# BUILDER=…       an interpreter that has hatchling, which builds the wheel (default .venv/bin/python)
# DEPENDENCIES=no leave out the pinned packages: a package of a distribution brings them another way
set -eu
umask 022 # the service must be able to read what root installs

DESTDIR=${DESTDIR-}
PREFIX=${PREFIX:-/opt/levibot}
PYTHON=${PYTHON:-python3}
BUILDER=${BUILDER:-.venv/bin/python}
DEPENDENCIES=${DEPENDENCIES:-yes}

SERVICE=levibot
UNIT_DIR=$DESTDIR/etc/systemd/system
UNIT=$UNIT_DIR/$SERVICE.service
DROP_INS=$UNIT_DIR/$SERVICE.service.d
SYSUSERS=$DESTDIR/etc/sysusers.d/$SERVICE.conf
CONFIG_DIR=$DESTDIR/etc/levibot
COMMAND=$DESTDIR/usr/local/bin/levibotctl
VENV=$DESTDIR$PREFIX/venv

fail() {
	echo "install-service: $1" >&2
	exit 1
}

check() {
	case $PREFIX in
	/*[!/]*) ;;
	*) fail "PREFIX=$PREFIX is no absolute folder; try PREFIX=/opt/levibot" ;;
	esac
	case $PREFIX$DESTDIR in
	*[!A-Za-z0-9/._+@:-]*) fail "PREFIX and DESTDIR may hold no blanks and no special characters" ;;
	esac
	if [ -z "$DESTDIR" ]; then
		[ "$(id -u)" -eq 0 ] || fail "must be run as root: sudo make $1"
		command -v systemctl >/dev/null || fail "systemctl is missing: this machine has no systemd; run \`levibotctl start\` instead"
	fi
}

check_python() {
	command -v "$PYTHON" >/dev/null || fail "$PYTHON is missing; name one: make install-service PYTHON=/usr/bin/python3.11"
	"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
		fail "$PYTHON is older than 3.11; name one: make install-service PYTHON=/usr/bin/python3.11"
	case $("$PYTHON" -c 'import os, sys; print(os.path.realpath(sys.executable))') in
	/home/* | /root/*)
		[ -n "$DESTDIR" ] || fail "$PYTHON lies in a home folder, which the service cannot see (ProtectHome); name another with PYTHON="
		;;
	esac
	"$PYTHON" -c 'import venv' 2>/dev/null || fail "$PYTHON cannot make environments; install python3-venv"
	"$BUILDER" -c 'import hatchling' 2>/dev/null || fail "$BUILDER has no hatchling; run \`make install\` first"
}

make_environment() {
	"$PYTHON" -m venv --without-pip "$VENV"
	wheels=$(mktemp -d)
	trap 'rm -rf "$wheels"' EXIT
	if [ "$DEPENDENCIES" != no ]; then
		"$BUILDER" -m pip --python "$VENV/bin/python" install --quiet --require-hashes -r requirements/run.txt
	fi
	"$BUILDER" -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir "$wheels" .
	"$BUILDER" -m pip --python "$VENV/bin/python" install --quiet --no-deps --no-index --force-reinstall "$wheels"/levibot-*.whl
}

make_user() {
	if id "$SERVICE" >/dev/null 2>&1; then
		return
	fi
	if command -v systemd-sysusers >/dev/null; then
		systemd-sysusers "$SYSUSERS"
	else
		useradd --system --user-group --home-dir /var/lib/levibot --shell /usr/sbin/nologin "$SERVICE"
	fi
}

install_files() {
	install -d -m 755 "$DROP_INS" "$(dirname "$SYSUSERS")" "$(dirname "$COMMAND")"
	sed "s|/opt/levibot|$PREFIX|g" deploy/levibot.service >"$UNIT"
	chmod 644 "$UNIT"
	# systemd reads only names that end in .conf: this one waits until somebody renames it.
	install -m 644 deploy/levibot.service.d/live.conf "$DROP_INS/live.conf.example"
	install -m 644 deploy/levibot.sysusers "$SYSUSERS"
	printf '#!/bin/sh\nexec %s/venv/bin/python -c "from levibot.cli import main; main()" "$@"\n' "$PREFIX" >"$COMMAND"
	chmod 755 "$COMMAND"
}

install_config() {
	install -d -m 750 "$CONFIG_DIR"
	if [ ! -e "$CONFIG_DIR/supervisor.toml" ]; then
		sed 's|^data_dir = "var"$|data_dir = "/var/lib/levibot"|; /^#:schema/d' supervisor.toml >"$CONFIG_DIR/supervisor.toml"
		chmod 640 "$CONFIG_DIR/supervisor.toml"
	fi
	if [ -z "$DESTDIR" ]; then
		chgrp -R "$SERVICE" "$CONFIG_DIR"
	fi
}

install_service() {
	check install-service
	check_python
	make_environment
	install_files
	if [ -z "$DESTDIR" ]; then
		make_user
	fi
	install_config
	if [ -n "$DESTDIR" ]; then
		echo "staged below $DESTDIR"
		return
	fi
	systemctl daemon-reload
	if systemctl is-active --quiet "$SERVICE"; then
		echo "installed; it runs on the old code until: systemctl restart $SERVICE"
	else
		echo "installed; look at /etc/levibot/supervisor.toml, then: systemctl enable --now $SERVICE"
	fi
}

uninstall_service() {
	check uninstall-service
	if [ -z "$DESTDIR" ] && [ -e "$UNIT" ]; then
		systemctl disable --now "$SERVICE"
	fi
	rm -f "$UNIT" "$DROP_INS/live.conf.example" "$SYSUSERS" "$COMMAND"
	rmdir "$DROP_INS" 2>/dev/null || true # it may hold drop-ins of the operator's own
	rm -rf "$VENV"
	rmdir "$DESTDIR$PREFIX" 2>/dev/null || true
	if [ -z "$DESTDIR" ]; then
		systemctl daemon-reload
	fi
	echo "removed; kept: /etc/levibot and the orders, fills and logs in /var/lib/levibot"
}

case ${1-} in
install) install_service ;;
uninstall) uninstall_service ;;
*) fail "say install or uninstall" ;;
esac
