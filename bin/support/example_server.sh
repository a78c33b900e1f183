# shellcheck shell=bash disable=SC2154
# The server that an example runs against: the one that the tests were pointed to, or a node of its own, named $CASS_NAME. What
# the example reads is exported. Sourced, after common.sh.

server() {
  if [ -n "${PALLADION_TEST_SERVER:-}" ]; then
    export CASSANDRA_CONTACT_POINT=$PALLADION_TEST_SERVER CASSANDRA_CACERTFILE=${PALLADION_TEST_CA:-}
    export CASSANDRA_USERNAME=${PALLADION_TEST_USER:-cassandra} CASSANDRA_PASSWORD=${PALLADION_TEST_PASSWORD:-cassandra}
  else
    ready=$("$root/bin/cassandra" start tls)
    export CASSANDRA_CONTACT_POINT CASSANDRA_CACERTFILE CASSANDRA_USERNAME CASSANDRA_PASSWORD
    CASSANDRA_CONTACT_POINT=localhost:$(field port)
    CASSANDRA_CACERTFILE=$(field ca) CASSANDRA_USERNAME=$(field user) CASSANDRA_PASSWORD=$(field password)
  fi
}

field() { sed -n "s/.* $1=\([^ ]*\).*/\1/p" <<<"$ready"; }
