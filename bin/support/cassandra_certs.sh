# shellcheck shell=bash disable=SC2154
# The certificates of bin/cassandra, and where they are. Sourced, not run.

certs_directory() { # count up when what is made below changes
  case $CASS_CERTS,$CASS_STORE in
    ,jks) echo "$cache/keystores-1" ;;
    ,*) echo "$cache/certs-2" ;;
    *) (cd "$CASS_CERTS" && pwd) || die "there is no directory $CASS_CERTS" ;;
  esac
}

# A node that is there may have others than a new one would get. What CASS_YAML_EXTRA says comes last.
certs_of() { # NAME
  dirname "$(sed -n 's/^  keystore: //p' "$CASS_RUN/$1/conf/cassandra.yaml" | tail -n 1)"
}

make_certs() { [ -e "$certs" ] || locked "$certs.lock" write_certs; }

write_certs() (
  [ ! -e "$certs" ] || return 0
  need_java
  umask 077
  rm -rf "$certs.new"
  mkdir "$certs.new"
  cd "$certs.new" || exit
  if [ "$CASS_STORE" = jks ]; then write_keystores; else write_files; fi
  rm -f ./*.csr ./*.srl
  mv "$certs.new" "$certs"
)

keytool() { "$java/bin/keytool" "$@" -noprompt -storepass "$password" 2>/dev/null; }

export_certs() { # [--out DIR]: readable by all, since a container's user is another one. They are test keys.
  if [ "${1:-}" = --out ]; then
    mkdir -p "${2:?DIR}"
    cp "$certs"/* "$2"
    chmod -R a+rX "$2"
    echo "$2"
  else
    echo "$certs"
  fi
}

server_names="DNS:localhost,DNS:cassandra.test,$(printf 'IP:127.0.0.%s,' {1..9})IP:::1"

# ---------------------------------------------------------------- PEM and PKCS#12
write_files() {
  authority ca "/CN=test CA"
  authority other-ca "/CN=other CA"             # signs nothing: what a client with the wrong CA would trust
  leaf server "/CN=localhost" serverAuth,clientAuth "$server_names"
  leaf client "/CN=client" clientAuth "URI:spiffe://test/client"
  openssl pkcs8 -topk8 -v2 aes-256-cbc -in client.key -out client-enc.key -passout "pass:$password"
  # Java takes a PKCS#12 as truststore only with an attribute of its own, which keytool writes and openssl doesn't
  keytool -importcert -alias ca -file ca.crt -keystore trust.p12 -storetype PKCS12
}

new_key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)      # PKCS#8, which Cassandra's PEM reader needs

authority() { # NAME SUBJECT
  openssl req -x509 "${new_key[@]}" -keyout "$1.key" -out "$1.crt" -days 3650 -subj "$2" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign 2>/dev/null
}

leaf() { # NAME SUBJECT USAGE NAMES
  openssl req -new "${new_key[@]}" -keyout "$1.key" -out "$1.csr" -subj "$2" 2>/dev/null
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -out "$1.crt" -days 3650 -extfile <(
    echo "basicConstraints=CA:FALSE"
    echo "keyUsage=critical,digitalSignature"
    echo "extendedKeyUsage=$3"
    echo "subjectAltName=$4"
  ) 2>/dev/null
  cat "$1.key" "$1.crt" ca.crt > "$1.pem"
  openssl pkcs12 -export -name "$1" -inkey "$1.key" -in "$1.crt" -certfile ca.crt -out "$1.p12" -passout "pass:$password"
}

# ---------------------------------------------------------------- keystores, as the Python drivers' documents have them
write_keystores() {
  local new_key=(-newkey rsa:2048 -nodes)
  authority ca "/C=US/O=test/OU=TestCluster/CN=rootCa"
  authority other-ca "/C=US/O=test/OU=TestCluster/CN=otherCa"
  keystore 127.0.0.1.keystore "CN=127.0.0.1, OU=TestCluster, O=test, C=US"
  keytool -importcert -alias rootca -file ca.crt -keystore truststore.jks -storetype JKS
  v1_leaf client ca
  v1_leaf other-client other-ca
}

# The key is made in the keystore and doesn't leave it: only its request does, and its certificate comes back.
keystore() { # FILE SUBJECT
  local store=(-keystore "$1" -alias server)
  keytool -genkeypair "${store[@]}" -storetype JKS -keyalg RSA -keysize 2048 -validity 3650 -dname "$2" -keypass "$password"
  keytool -certreq "${store[@]}" -file server.csr
  openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt -days 3650 \
    -extfile <(echo "subjectAltName=$server_names") 2>/dev/null
  keytool -importcert -keystore "$1" -alias rootca -file ca.crt
  keytool -importcert "${store[@]}" -file server.crt
}

# Without extensions OpenSSL made X.509 v1 before its version 3.2, and many clients still have such a certificate.
v1_leaf() { # NAME AUTHORITY
  local signed=(-CA "$2.crt" -CAkey "$2.key" -out "$1.crt" -days 3650)
  openssl req "${new_key[@]}" -keyout "$1.key" -out "$1.csr" -subj "/C=US/O=test/OU=TestCluster/CN=client" 2>/dev/null
  if openssl req -help 2>&1 | grep -q -e -x509v1; then
    # The system's configuration would add extensions, which make it v3.
    openssl req -x509 -x509v1 -config <(printf '[req]\ndistinguished_name = dn\n[dn]\n') \
      -in "$1.csr" "${signed[@]}" 2>/dev/null
  else
    openssl x509 -req -in "$1.csr" -CAcreateserial "${signed[@]}" 2>/dev/null
  fi
  openssl x509 -in "$1.crt" -noout -text | grep -q 'Version: 1 ' || die "$1.crt is not X.509 v1"
}
