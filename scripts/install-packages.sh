#!/bin/sh
# Installs the Debian packages behind the named components, so that `make` works on a fresh machine:
#
#   scripts/install-packages.sh qemu image-tools mariadb chromium fonts network compiler libvirt sshd
#
# With everything in place it returns at once. As root it installs what is missing, without starting any service; as
# another user it prints one line that says what to install and exits 1.
set -eu

usage() {
	echo "usage: $0 COMPONENT...   (qemu image-tools mariadb chromium fonts network compiler libvirt sshd)" >&2
	exit 2
}

# packages_of prints the packages of one component.
packages_of() {
	case $1 in
	# qemu-system-x86 recommends nothing we need; seabios, ipxe-qemu and the VGA BIOS come as its dependencies.
	qemu) echo qemu-system-x86 qemu-utils ;;
	# What build-cloud-image.sh calls. dpkg-deb and apt-get are part of every Debian.
	image-tools) echo syslinux syslinux-common mtools dosfstools fdisk e2fsprogs cpio lz4 qemu-utils xorriso ;;
	mariadb) echo mariadb-server ;;
	chromium) echo chromium ;;
	# A headless browser without fonts draws empty boxes; the panel is in English and Chinese.
	fonts) echo fonts-dejavu-core fonts-noto-cjk ;;
	# Bridges, taps and rate limits of lab guests, and the ping that proves them.
	network) echo iproute2 iputils-ping ;;
	# The race detector is linked with C.
	compiler) echo gcc libc6-dev ;;
	# The hypervisor of the libvirt driver's tests, its network filters, and an SSH server and nsenter to reach it by.
	libvirt) echo libvirt-daemon-system libvirt-daemon-config-nwfilter libvirt-clients qemu-system-x86 qemu-utils iptables iproute2 openssh-server util-linux ;;
	# The SSH server of the tests that install the node daemon.
	sshd) echo openssh-server ;;
	*) usage ;;
	esac
}

[ $# -gt 0 ] || usage
wanted=
for component in "$@"; do
	packages=$(packages_of "$component") || exit 2
	wanted="$wanted $packages"
done

# One dpkg-query call for all: it prints a line for each package that dpkg has heard of.
# shellcheck disable=SC2086
installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' $wanted 2>/dev/null | sed -n 's/ installed$//p' || true)
missing=
for package in $wanted; do
	case "
$installed
" in
	*"
$package
"*) ;;
	*) case " $missing " in *" $package "*) ;; *) missing="$missing $package" ;; esac ;;
	esac
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
	echo "missing Debian packages, install them as root: apt-get install --no-install-recommends$missing" >&2
	exit 1
fi

# Two targets of one parallel make may come here together; the second waits and then finds nothing to do.
exec 9>/run/lock/gantry-install-packages.lock
if command -v flock >/dev/null; then flock -w 900 9; fi

# A policy-rc.d that answers 101 keeps maintainer scripts from starting services (invoke-rc.d(8)). One that the
# machine has already is left in charge.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	trap 'rm -f $policy' EXIT
	trap 'exit 1' HUP INT TERM
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
fi

log=$(mktemp)
apt() {
	DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -qq -y \
		-o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" >"$log" 2>&1
}
# shellcheck disable=SC2086
install() { apt install --no-install-recommends $missing; }

# Package lists may be missing (fresh container) or older than the archive (404 on a package): fetch them and try again.
echo "installing Debian packages:$missing" >&2
# shellcheck disable=SC2086
if { apt-cache show $missing >/dev/null 2>&1 && install; } || { apt update && install; }; then
	rm -f "$log"
else
	cat "$log" >&2
	rm -f "$log"
	echo "could not install:$missing" >&2
	exit 1
fi
