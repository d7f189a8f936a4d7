#!/bin/sh
# Writes the files with passwords that compose.yaml reads, into secrets/ (or the folder that is named). Files that are
# there already are left alone, so that running it again never changes a password.
set -eu
umask 077
folder=${1:-$(dirname "$0")/../secrets}
mkdir -p "$folder"

# random prints 192 bits from the kernel as hexadecimal digits.
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

# The files share passwords, so they are made together or not at all.
present=0
for file in mysql.env server.env vncproxy.env; do
	if [ -e "$folder/$file" ]; then present=$((present + 1)); fi
done
case $present in
3) exit 0 ;;
0) ;;
*)
	echo "$0: $folder has only some of mysql.env, server.env and vncproxy.env, which share passwords" >&2
	exit 1
	;;
esac

database=$(random)
proxy=$(random)
cat >"$folder/mysql.env" <<END
MYSQL_DATABASE=gantry
MYSQL_USER=gantry
MYSQL_PASSWORD=$database
MYSQL_RANDOM_ROOT_PASSWORD=yes
END
cat >"$folder/server.env" <<END
GANTRY_SERVER_DATABASE_DSN=mysql://gantry:$database@mysql:3306/gantry
GANTRY_SERVER_CONSOLE_PROXY_SECRET=$proxy
# What browsers open, once a web server that speaks TLS stands in front.
#GANTRY_SERVER_PUBLIC_URL=https://panel.example.com
#GANTRY_SERVER_CONSOLE_PROXY_URL=https://console.example.com
END
cat >"$folder/vncproxy.env" <<END
GANTRY_VNCPROXY_SECRET=$proxy
#GANTRY_VNCPROXY_PUBLIC_URL=https://console.example.com
END
