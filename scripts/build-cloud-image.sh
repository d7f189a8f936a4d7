#!/bin/bash
# Builds a tiny cloud image from Debian's own kernel, busybox and guest agent:
#
#   scripts/build-cloud-image.sh [--tag TAG] OUTPUT.qcow2
#
# The image boots from the first BIOS disk (SYSLINUX on a FAT partition, an ext4 root behind it), applies a NoCloud
# drive and says so on the serial port and the screen. TAG shows up there, so that two images can be told apart.
# Nothing is installed into this machine, nothing is mounted, and no root is needed once the packages of the component
# image-tools (install-packages.sh) are there. An output that was built from the same inputs is left alone.
# Downloaded packages are kept in OUTPUT's folder under packages/.
set -euo pipefail
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin

tag=gantry
if [ "${1:-}" = --tag ]; then
	tag=${2:-}
	shift 2
fi
if [ $# -ne 1 ] || ! [[ $tag =~ ^[A-Za-z0-9._-]{1,64}$ ]]; then
	echo "usage: $0 [--tag TAG] OUTPUT.qcow2   (TAG: up to 64 of A-Z a-z 0-9 . _ -)" >&2
	exit 2
fi
mkdir -p "$(dirname "$1")"
output=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
source=$(cd "$(dirname "$0")" && pwd)
packages=$(dirname "$output")/packages
mkdir -p "$packages"

# Two targets of one parallel make, or the tests of two Go packages, may want an image at once.
exec 9>"$packages/lock"
flock -w 600 9

# Inputs: this script, what it copies in, and the tag. Debian's package versions are none: a new kernel in the archive
# is no reason to build again.
inputs=$(cd "$source" && {
	echo "tag $tag"
	find build-cloud-image.sh cloud-image -type f -printf '%m ' -exec sha256sum {} + | sort
} | sha256sum | cut -d' ' -f1)
if [ -s "$output" ] && [ "$(cat "$output.inputs" 2>/dev/null)" = "$inputs" ]; then
	exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# --- packages ---------------------------------------------------------------------------------------------------------

fetch() {
	local -a wanted=(busybox-static qemu-guest-agent e2fsprogs
		libc6 libglib2.0-0 libpcre2-8-0 libnuma1 libudev1 liburing2 libext2fs2 libcom-err2)
	local kernel
	# The meta package names the current kernel.
	kernel=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/^  Depends: //p' | head -n 1)
	[ -n "$kernel" ] || return 1
	find "$packages" -name '*.deb' -delete
	# apt's unprivileged download user often cannot write here; it warns and goes on as ourselves.
	(cd "$packages" && apt-get -qq -o Acquire::Retries=3 download "$kernel" "${wanted[@]}") >"$work/apt.log" 2>&1
}
if [ ! -e "$packages/complete" ]; then
	if ! fetch; then
		apt-get -qq update >&2
		fetch || { cat "$work/apt.log" >&2; echo "could not download the image's packages" >&2; exit 1; }
	fi
	touch "$packages/complete"
fi
for package in "$packages"/*.deb; do
	# The kernel brings 26 MB of modules of which a handful is used.
	case $package in
	*/linux-image*) dpkg-deb -x "$package" "$work/kernel" & ;;
	*/libc6_*) dpkg-deb -x "$package" "$work/libc" & ;;
	*) dpkg-deb -x "$package" "$work/programs" ;;
	esac
done
wait
busybox=$work/programs/bin/busybox
version=$(basename "$work"/kernel/lib/modules/*)

# --- modules ----------------------------------------------------------------------------------------------------------

"$busybox" depmod -b "$work/kernel" "$version"

# add_modules TARGET MODULE... copies modules and what they need, and their dependency list.
add_modules() {
	local target=$1 name file
	shift
	local folder=$work/kernel/lib/modules/$version
	mkdir -p "$target/lib/modules/$version"
	for name in "$@"; do
		for file in $(sed -n "s|^\(.*/$name\.ko\): *\(.*\)|\1 \2|p" "$folder/modules.dep"); do
			install -D -m 644 "$folder/$file" "$target/lib/modules/$version/$file"
		done
	done
	cp "$folder/modules.builtin" "$folder/modules.order" "$target/lib/modules/$version/"
	"$busybox" depmod -b "$target" "$version"
}

# --- initramfs --------------------------------------------------------------------------------------------------------

initramfs=$work/initramfs
mkdir -p "$initramfs"/{bin,dev,proc,sys,root}
install -m 755 "$busybox" "$initramfs/bin/busybox"
install -m 755 "$source/cloud-image/initramfs-init" "$initramfs/init"
add_modules "$initramfs" virtio_pci virtio_scsi virtio_blk sd_mod ata_piix
find "$initramfs" -exec touch -h -d @0 {} +
(cd "$initramfs" && find . | sort | cpio -o -H newc -R 0:0 --reproducible --quiet) | lz4 -l -9 -q >"$work/initrd"

# --- root file system -------------------------------------------------------------------------------------------------

root=$work/root
mkdir -p "$root"/{bin,sbin,usr/bin,usr/sbin,usr/lib,lib64,dev,proc,sys,run,tmp,root,home,etc,var/lib,var/log,mnt}
install -m 755 "$busybox" "$root/bin/busybox"
# Applets first: the files of the overlay and the packages replace them.
for applet in $("$busybox" --list); do
	case $applet in busybox | dpkg | dpkg-deb | rpm | rpm2cpio | httpd | linuxrc | ssl_client) continue ;; esac
	ln -s busybox "$root/bin/$applet"
done
ln -s ../run "$root/var/run"
for applet in init getty poweroff reboot halt; do ln -s ../bin/busybox "$root/sbin/$applet"; done
add_modules "$root" virtio_net virtio_console virtio_balloon virtio-rng ata_piix sr_mod isofs evdev button
install -m 755 "$work/programs/usr/sbin/qemu-ga" "$root/usr/sbin/qemu-ga"
install -m 755 "$work/programs/sbin/resize2fs" "$root/sbin/resize2fs"
libraries=$root/usr/lib/x86_64-linux-gnu
mkdir -p "$libraries"
for library in libc.so.6 libm.so.6 libglib-2.0.so.0 libgmodule-2.0.so.0 libpcre2-8.so.0 libnuma.so.1 libudev.so.1 \
	liburing.so.2 libe2p.so.2 libext2fs.so.2 libcom_err.so.2; do
	install -m 644 "$(find "$work/programs" "$work/libc" -path '*/x86_64-linux-gnu/*' -name $library | head -n 1)" "$libraries/$library"
done
install -m 755 "$(find "$work/libc" -name 'ld-linux-x86-64.so.2' -path '*/x86_64-linux-gnu/*' | head -n 1)" "$libraries/ld-linux-x86-64.so.2"
ln -s ../usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 "$root/lib64/ld-linux-x86-64.so.2"
ln -s usr/lib/x86_64-linux-gnu "$root/lib/x86_64-linux-gnu"
cp -a "$source/cloud-image/rootfs/." "$root/"
chmod 640 "$root/etc/shadow"
chmod 700 "$root/root"
chmod 1777 "$root/tmp"
echo "$tag" >"$root/etc/image-tag"

# --- disk -------------------------------------------------------------------------------------------------------------

# 1 MiB for the MBR, then FAT with the boot loader and kernel, then the root, which the guest grows.
boot_mib=20
root_mib=43
disk=$work/disk.raw
truncate -s $((1 + boot_mib + root_mib))M "$disk"
sfdisk -q "$disk" <<PARTITIONS
label: dos
label-id: 0x47414e54
start=2048, size=${boot_mib}MiB, type=e, bootable
start=$((2048 + boot_mib * 2048)), size=${root_mib}MiB, type=83
PARTITIONS
dd if=/usr/lib/syslinux/mbr/mbr.bin of="$disk" bs=440 count=1 conv=notrunc status=none

boot=$work/boot.fat
truncate -s ${boot_mib}M "$boot"
mkfs.fat -F 16 -n BOOT -i 47414e54 -h 2048 "$boot" >/dev/null
cat >"$work/syslinux.cfg" <<BOOT
DEFAULT linux
PROMPT 0
TIMEOUT 0
LABEL linux
  KERNEL vmlinuz
  INITRD initrd
  APPEND console=ttyS0,115200 console=tty0 quiet loglevel=3 panic=5 no_timer_check audit=0 apparmor=0 mitigations=off init_on_alloc=0
BOOT
export MTOOLS_SKIP_CHECK=1
mcopy -i "$boot" "$work/kernel/boot/vmlinuz-$version" ::vmlinuz
mcopy -i "$boot" "$work/initrd" "$work/syslinux.cfg" /usr/lib/syslinux/modules/bios/ldlinux.c32 ::
syslinux --install "$boot"
dd if="$boot" of="$disk" bs=1M seek=1 conv=notrunc,sparse status=none

truncate -s ${root_mib}M "$work/root.ext4"
mke2fs -q -t ext4 -b 4096 -L gantry-root -m 0 -J size=4 -E root_owner=0:0 -d "$root" "$work/root.ext4"
# Whoever built it, the files are root's.
if [ "$(id -u)" -ne 0 ]; then
	(cd "$root" && find . -mindepth 1 -printf 'sif %P uid 0\nsif %P gid 0\n') | debugfs -w -f - "$work/root.ext4" >/dev/null 2>&1
fi
dd if="$work/root.ext4" of="$disk" bs=1M seek=$((1 + boot_mib)) conv=notrunc,sparse status=none

qemu-img convert -q -c -f raw -O qcow2 "$disk" "$work/image.qcow2"
mv "$work/image.qcow2" "$output.new"
chmod 644 "$output.new"
mv "$output.new" "$output"
echo "$inputs" >"$output.inputs"
