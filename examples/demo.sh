#!/bin/sh
# Echo servers and clients in processes of their own, over every kind of
# socket, and curl at one of our servers.
# shellcheck disable=SC2086 # commands with flags, and lists of words
set -eu

luajit=${LUAJIT:-luajit}
here=$(dirname "$0")
work=$(mktemp -d)
servers=

stop() {
    if [ -n "$servers" ]; then kill $servers 2>/dev/null || :; fi
    rm -rf "$work"
}
trap stop EXIT

# Starts a server and waits for the line that says where it listens; the rest
# of the line is left in $address.
start() { # program arguments...
    program=$1
    shift
    mkfifo "$work/started"
    $luajit "$here/$program" "$@" > "$work/started" &
    servers="$servers $!"
    read -r _ _ address < "$work/started"
    rm "$work/started"
    printf '  %-20s listens on %s (process %s)\n' "$program" "$address" "$!"
}

ask() { # program text address...
    program=$1
    sent=$2
    shift 2
    printf '  %-20s sends     %s\n' "$program" "$sent"
    received=$($luajit "$here/$program" "$sent" "$@")
    printf '  %-20s received  %s\n' "$program" "$received"
    [ "$received" = "$sent" ]
}

echo "A Unix socket:"
start echo_server.lua "$work/echo.sock"
ask echo_client.lua "hello over a Unix socket" "$work/echo.sock"

echo "TCP on IPv4:"
start echo_server.lua 127.0.0.1 0
ask echo_client.lua "hello over IPv4" $address

echo "TCP on IPv6:"
if grep -qs ' lo$' /proc/net/if_inet6; then
    start echo_server.lua ::1 0
    ask echo_client.lua "hello over IPv6" $address
else
    echo "  this machine has no IPv6"
fi

echo "UDP:"
start udp_echo_server.lua 127.0.0.1 0
ask udp_echo_client.lua "hello in a datagram" $address

echo "curl, at a web server of ours:"
start hello_http.lua 127.0.0.1 0
url="http://127.0.0.1:${address#* }/demo"
echo "  curl $url"
answer=$(curl -sS --max-time 5 "$url")
echo "  $answer"
case $answer in *"GET /demo"*) ;; *) exit 1 ;; esac

echo "All of it arrived."
