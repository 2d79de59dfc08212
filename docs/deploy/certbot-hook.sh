#!/bin/sh
# Gives a renewed certificate to the gateway: certbot renew --deploy-hook /path/of/this/file
# Once before: groupadd --system icws-tls; SupplementaryGroups=icws-tls in a drop-in of icws.service; and in
# /etc/icws/gateway.yaml gateway.tls: {certificate: /etc/icws/tls.pem, key: /etc/icws/tls.key}
set -eu
folder=${ICWS_TLS_FOLDER:-/etc/icws}
group=${ICWS_TLS_GROUP:-icws-tls}
# Beside the files, and then renamed: the gateway never sees a half of one. It refuses a key that others can read.
install -m 0640 -g "$group" "$RENEWED_LINEAGE/privkey.pem" "$folder/.tls.key.new"
install -m 0644 "$RENEWED_LINEAGE/fullchain.pem" "$folder/.tls.pem.new"
mv "$folder/.tls.key.new" "$folder/tls.key"
mv "$folder/.tls.pem.new" "$folder/tls.pem"
# Refused if they do not belong together: then the gateway serves the old pair on, and certbot reports this hook.
exec "${ICWS:-/opt/icws/bin/icws}" reload --config "$folder/gateway.yaml"
