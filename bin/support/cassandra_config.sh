# shellcheck shell=bash disable=SC2154
# What bin/cassandra writes for a node: cassandra.yaml, the log's configuration and the JVM's arguments. Sourced, not run.

# Two seconds for a write, the default, are few where several nodes share two processors.
write_yaml() { # DIR VARIANT ADDRESS INDEX SEEDS
  local dir=$1 variant=$2 address=$3
  cat <<Y
cluster_name: test
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
num_tokens: 4
initial_token: "$(tokens "$4")"
auto_bootstrap: false
endpoint_snitch: GossipingPropertyFileSnitch
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters: [ { seeds: "$5" } ]
listen_address: $address
rpc_address: $address
storage_port: $CASS_STORAGE_PORT
native_transport_port: $CASS_PORT
start_native_transport: true
data_file_directories: [ $dir/data ]
commitlog_directory: $dir/commitlog
saved_caches_directory: $dir/saved_caches
hints_directory: $dir/hints
cdc_raw_directory: $dir/cdc_raw
commitlog_sync: periodic
commitlog_sync_period: 10000ms
commitlog_segment_size: 8MiB
commitlog_total_space: 64MiB
memtable_heap_space: 64MiB
memtable_offheap_space: 64MiB
file_cache_size: 32MiB
networking_cache_size: 32MiB
key_cache_size: 0MiB
counter_cache_size: 0MiB
concurrent_reads: 8
concurrent_writes: 8
concurrent_counter_writes: 8
concurrent_compactors: 1
write_request_timeout: 10000ms
auto_snapshot: false
dynamic_snitch: false
user_defined_functions_enabled: true
materialized_views_enabled: true
Y
  [ "$variant" = plain ] || write_yaml_security "$variant"
  [ -z "$CASS_YAML_EXTRA" ] || printf '%b\n' "$CASS_YAML_EXTRA"
}

# The four tokens of each node lie so that in a cluster of three each owns a third; those added later halve what is there.
tokens() { # INDEX
  local twelfth=$(((1 << 62) / 12)) places=(0 4 8 2 6 10 1 5 9) quarter tokens=''
  for quarter in -2 -1 0 1; do tokens=$tokens,$(((quarter << 62) + places[$1] * twelfth)); done
  echo "${tokens#,}"
}

write_yaml_security() { # VARIANT
  local optional=false
  case $1 in
    mtlsauth | mtlsfallback) optional=true; cat <<'Y' ;;
authenticator:
  class_name: org.apache.cassandra.auth.MutualTlsWithPasswordFallbackAuthenticator
  parameters: { validator_class_name: org.apache.cassandra.auth.SpiffeCertificateValidator }
Y
    *) echo "authenticator: PasswordAuthenticator" ;;
  esac
  cat <<Y
authorizer: CassandraAuthorizer
role_manager: CassandraRoleManager
auth_read_consistency_level: LOCAL_ONE
roles_validity: $CASS_AUTH_VALIDITY
permissions_validity: $CASS_AUTH_VALIDITY
credentials_validity: $CASS_AUTH_VALIDITY
client_encryption_options:
  enabled: true
  optional: $optional
  require_client_auth: $(case $1 in mtls*) echo true ;; *) echo false ;; esac)
Y
  case $CASS_STORE in
    pem) cat <<Y ;;
  ssl_context_factory: { class_name: org.apache.cassandra.security.PEMBasedSslContextFactory }
  keystore: $certs/server.pem
  truststore: $certs/ca.crt
Y
    p12) cat <<Y ;;
  store_type: PKCS12
  keystore: $certs/server.p12
  keystore_password: $password
  truststore: $certs/trust.p12
  truststore_password: $password
Y
    jks) cat <<Y ;;
  keystore: $certs/127.0.0.1.keystore
  keystore_password: $password
$(case $1 in mtls*) printf '  truststore: %s\n  truststore_password: %s\n' "$certs/truststore.jks" "$password" ;; esac)
Y
    *) die "CASS_STORE is pem, p12 or jks, not $CASS_STORE" ;;
  esac
}

# What "mtlsauth" becomes once roles have identities.
refuse_passwords() { # NAME
  edit "$CASS_RUN/$1/conf/cassandra.yaml" s/MutualTlsWithPasswordFallbackAuthenticator/MutualTlsAuthenticator/ \
    's/^  optional: .*/  optional: false/'
}

optional_tls() { grep -q '^  optional: true' "$CASS_RUN/$1/conf/cassandra.yaml"; } # NAME

write_logback() { # DIR
  cat <<X
<configuration>
  <appender name="F" class="ch.qos.logback.core.FileAppender">
    <file>$1/logs/system.log</file><append>false</append>
    <encoder><pattern>%-5level [%thread] %date{ISO8601} %F:%L - %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="F"/></root>
</configuration>
X
}

# Small and quick to boot: one test node gets by with the first compiler and a serial collector. The ring delay is what gossip
# needs to reach everyone when a node joins, and only then waited for; with less the others forget the one that joins. Passwords may
# be changed as soon as they are made, for which 5.0.9 wants to wait.
write_jvm_args() { # DIR NODES
  local dir=$1 version agent
  version=$(java_version "$java")
  cat <<O
-ea
-da:net.openhft...
-Xms128m
-Xmx$CASS_HEAP
-Xss512k
-XX:MaxDirectMemorySize=256m
-XX:+UseSerialGC
-XX:TieredStopAtLevel=1
-XX:+ExitOnOutOfMemoryError
-XX:+PerfDisableSharedMem
-XX:ErrorFile=$dir/logs/hs_err.log
-Djava.io.tmpdir=$dir/tmp
-Djava.net.preferIPv4Stack=true
-Djdk.attach.allowAttachSelf=true
-Dio.netty.tryReflectionSetAccessible=true
-Dio.netty.eventLoopThreads=4
-Dcassandra.config=file://$dir/conf/cassandra.yaml
-Dcassandra.storagedir=$dir
-Dcassandra.logdir=$dir/logs
-Dlogback.configurationFile=$dir/conf/logback.xml
-Dcassandra.ring_delay_ms=3000
-Dcassandra.skip_wait_for_gossip_to_settle=0
-Dcassandra.superuser_setup_delay_ms=0
-Dcassandra.role_password_update_min_interval_in_ms=0
-Dcassandra.system_auth.default_rf=$2
-Dcassandra.consistent.rangemovement=false
-Dcassandra.memtable.row_overhead_size=180
-Dcassandra.shutdown_announce_in_ms=0
-Dcassandra-rackdc.properties=file://$dir/conf/cassandra-rackdc.properties
-Dcassandra.disable_tcactive_openssl=$([ "$CASS_SSL" = jdk ] && echo true || echo false)
--add-exports=java.base/jdk.internal.misc=ALL-UNNAMED
--add-exports=java.management.rmi/com.sun.jmx.remote.internal.rmi=ALL-UNNAMED
--add-exports=java.rmi/sun.rmi.registry=ALL-UNNAMED
--add-exports=java.rmi/sun.rmi.server=ALL-UNNAMED
--add-exports=java.sql/java.sql=ALL-UNNAMED
--add-exports=java.base/java.lang.ref=ALL-UNNAMED
--add-exports=jdk.unsupported/sun.misc=ALL-UNNAMED
--add-exports=jdk.attach/sun.tools.attach=ALL-UNNAMED
--add-opens=java.base/java.lang.module=ALL-UNNAMED
--add-opens=java.base/jdk.internal.loader=ALL-UNNAMED
--add-opens=java.base/jdk.internal.ref=ALL-UNNAMED
--add-opens=java.base/jdk.internal.reflect=ALL-UNNAMED
--add-opens=java.base/jdk.internal.math=ALL-UNNAMED
--add-opens=java.base/jdk.internal.module=ALL-UNNAMED
--add-opens=java.base/jdk.internal.util.jar=ALL-UNNAMED
--add-opens=jdk.management/com.sun.management.internal=ALL-UNNAMED
--add-opens=java.base/sun.nio.ch=ALL-UNNAMED
--add-opens=java.base/java.io=ALL-UNNAMED
--add-opens=java.base/java.lang=ALL-UNNAMED
--add-opens=java.base/java.lang.reflect=ALL-UNNAMED
--add-opens=java.base/java.util=ALL-UNNAMED
--add-opens=java.base/java.util.concurrent=ALL-UNNAMED
--add-opens=java.base/java.util.concurrent.atomic=ALL-UNNAMED
--add-opens=java.base/java.nio=ALL-UNNAMED
O
  # Forbidden since Java 18 unless asked for.
  [ "${version%%.*}" -lt 18 ] || echo "-Djava.security.manager=allow"
  # 4.1 can't measure objects on Java 17 without this agent.
  case $CASS_VERSION in 4.*) for agent in "$jars"/jamm-*.jar; do echo "-javaagent:$agent"; done ;; esac
  if [ -e "$(class_archive)" ]; then echo "-XX:SharedArchiveFile=$(class_archive)"; fi
  echo "-Dcassandra.jmx.local.port=$(free_port)"
  [ -z "$CASS_JVM_EXTRA" ] || tr ' ' '\n' <<<"$CASS_JVM_EXTRA"
  printf -- '-cp\n%s/*\norg.apache.cassandra.service.CassandraDaemon\n' "$jars"
}
