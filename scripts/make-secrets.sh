#!/bin/sh
# Writes the files with passwords that compose.yaml reads, into secrets/ (or the folder that is named). A file that is
# there already is left alone, so that running it again never changes a password.
set -eu
umask 077
folder=${1:-$(dirname "$0")/../secrets}
mkdir -p "$folder"

# random prints 192 bits from the kernel as hexadecimal digits.
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

if [ ! -e "$folder/mysql.env" ] && [ ! -e "$folder/server.env" ]; then
	password=$(random)
	cat >"$folder/mysql.env" <<END
MYSQL_DATABASE=gantry
MYSQL_USER=gantry
MYSQL_PASSWORD=$password
MYSQL_RANDOM_ROOT_PASSWORD=yes
END
	cat >"$folder/server.env" <<END
GANTRY_SERVER_DATABASE_DSN=mysql://gantry:$password@mysql:3306/gantry
#GANTRY_SERVER_PUBLIC_URL=https://panel.example.com
END
elif [ ! -e "$folder/mysql.env" ] || [ ! -e "$folder/server.env" ]; then
	echo "$0: $folder has only one of mysql.env and server.env, which share a password" >&2
	exit 1
fi
if [ ! -e "$folder/vncproxy.env" ]; then
	cat >"$folder/vncproxy.env" <<END
# The same secret belongs into the entry for this proxy under "console nodes" in the panel.
GANTRY_VNCPROXY_SECRET=$(random)
#GANTRY_VNCPROXY_PUBLIC_URL=https://console.example.com
END
fi
