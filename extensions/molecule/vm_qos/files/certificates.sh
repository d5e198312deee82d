#!/bin/sh
# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# usage: certificates DIRECTORY: makes an authority, and what a server and a client on 127.0.0.1 need, as libvirt calls them.
set -eu
umask 077
mkdir -p "$1"
cd "$1"
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=lab" -keyout cakey.pem -out cacert.pem
printf 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\nkeyUsage=digitalSignature,keyEncipherment\n' > usage
for who in server client; do
    openssl req -newkey rsa:2048 -nodes -subj "/CN=$who" -keyout "${who}key.pem" -out request
    openssl x509 -req -in request -CA cacert.pem -CAkey cakey.pem -CAcreateserial -days 2 -extfile usage -out "${who}cert.pem"
done
