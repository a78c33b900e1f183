# shellcheck shell=bash disable=SC2154
# How a running cluster of bin/cassandra changes: nodes that join, leave, move and hang. Sourced, not run.

add() { # CLUSTER DC RACK
  local cluster=$1 dc=$2 rack=$3 like i taken dcs
  read -r like < <(running "$cluster") ||
    die "no node of a cluster $cluster runs"
  taken=$(addresses "$cluster"; members "$cluster")
  for i in {1..10}; do
    grep -qx -e "127.0.0.$i" -e "$cluster-$i" <<<"$taken" || break
  done
  [ "$i" -le 9 ] || die "the certificates have no more addresses"
  dcs=$(dcs "$cluster")
  # It fetches the roles with the rest when it joins.
  ! grep -q "^$dc " <<<"$dcs" || replicate_roles "$like" <<<"$dcs"$'\n'"$dc 1"
  locked "$CASS_RUN/.lock" join "$cluster-$i" "$like" "127.0.0.$i" "$dc" "$rack" "$((i - 1))"
  await "$cluster-$i"
  rm "$CASS_RUN/$cluster-$i/joining"
  settle "$cluster"
  # Only now may a keyspace name a new data center.
  if ! grep -q "^$dc " <<<"$dcs"; then
    replicate_roles "$like" <<<"$dcs"$'\n'"$dc 1"
    nodetool "$cluster-$i" rebuild --keyspace system_auth "${dcs%% *}"
  fi
  ready "$cluster-$i"
}

# All settings are LIKE's, but for those that tell nodes apart. It is not among its own seeds, for a seed doesn't bootstrap.
join() { # NAME LIKE ADDRESS DC RACK INDEX
  local name=$1 dir=$CASS_RUN/$1 like=$CASS_RUN/$2 file variant port cluster
  ! alive "$dir" || die "$name runs already"
  rm -rf "$dir"
  mkdir -p "$dir/conf" "$dir/logs" "$dir/tmp"
  touch "$dir/joining"
  read -r variant _ port cluster < "$like/node"
  echo "$variant $3 $port $cluster" > "$dir/node"
  for file in cassandra.yaml logback.xml jvm.args; do
    sed "s|$like\([^0-9]\)|$dir\1|g; s|$like\$|$dir|" "$like/conf/$file" > "$dir/conf/$file"
  done
  printf 'dc=%s\nrack=%s\n' "$4" "$5" > "$dir/conf/cassandra-rackdc.properties"
  edit "$dir/conf/cassandra.yaml" "s/^auto_bootstrap:.*/auto_bootstrap: true/" \
    "s/^initial_token:.*/initial_token: \"$(tokens "$6")\"/"
  set_address "$name" "$3"
  edit "$dir/conf/jvm.args" "s/jmx.local.port=.*/jmx.local.port=$(free_port)/"
  launch "$name"
}

decommission() { # NAME
  local name=$1 variant address port cluster other
  if ! alive "$CASS_RUN/$name" || hangs "$name"; then die "$name does not run"; fi
  read -r variant address port cluster < "$CASS_RUN/$name/node"
  read -r other < <(running "$cluster" | grep -vx "$name") || die "$name is the last running node of $cluster"
  dcs "$cluster" "$name" | replicate_roles "$other"
  # Forced, it does so too where a keyspace wants more replicas than there are nodes then.
  if ! nodetool "$name" decommission --force; then
    dcs "$cluster" | replicate_roles "$other"
    die "$name was not decommissioned"
  fi
  end TERM "$name"
  wipe "$name"
  settle "$cluster" "$address"
  dcs "$cluster" | replicate_roles "$other"
}

move() { # NAME ADDRESS
  local name=$1 variant address port cluster
  [ -e "$CASS_RUN/$name/node" ] || die "there is no node $name"
  case $2 in 127.0.0.[1-9]) ;; *) die "the certificates have 127.0.0.1 to 127.0.0.9, not $2" ;; esac
  read -r variant address port cluster < "$CASS_RUN/$name/node"
  ! grep -qx "$2" <<<"$(addresses "$cluster")" || die "a node of $cluster has the address $2"
  end TERM "$name"                              # which drains it
  set_address "$name" "$2"
  echo "$variant $2 $port $cluster" > "$CASS_RUN/$name/node"
  write_seeds "$cluster"
  locked "$CASS_RUN/.lock" launch "$name"
  await "$name"
  settle "$cluster" "$address"
  ready "$name"
}

signal() { # SIGNAL NAME...
  local signal=$1 name pid
  shift
  for name in "$@"; do
    alive "$CASS_RUN/$name" || die "$name does not run"
    read -r pid _ < "$CASS_RUN/$name/pid"
    kill "-$signal" "$pid"
    # The last of its threads may stop a moment later than this returns.
    [ "$signal" != STOP ] || until hangs "$name"; do sleep 0.01; done
  done
}

# ---------------------------------------------------------------- who is there
members() { # CLUSTER
  local node cluster
  for node in "$CASS_RUN"/*/node; do
    { read -r _ _ _ cluster < "$node"; } 2>/dev/null || continue
    if [ "$cluster" = "$1" ] && [ ! -e "${node%/node}/joining" ]; then basename "${node%/node}"; fi
  done
}

running() { # CLUSTER: the members that can answer
  local name
  for name in $(members "$1"); do
    if alive "$CASS_RUN/$name" && ! hangs "$name"; then echo "$name"; fi
  done
}

addresses() { # CLUSTER
  local name address
  for name in $(members "$1"); do
    read -r _ address _ < "$CASS_RUN/$name/node"
    echo "$address"
  done
}

# Each member's data center, and how many nodes it is there: LEAVING is none.
dcs() { # CLUSTER [LEAVING]
  local name
  for name in $(members "$1"); do
    sed -n "s/^dc=\(.*\)/\1 $([ "$name" = "${2:-}" ] && echo 0 || echo 1)/p" "$CASS_RUN/$name/conf/cassandra-rackdc.properties"
  done
}

hangs() { # NAME
  local pid
  read -r pid _ < "$CASS_RUN/$1/pid"
  if [ -e /proc/self/stat ]; then
    awk '/^State:/ && $2 != "T" { exit 1 }' "/proc/$pid/task"/*/status 2>/dev/null
  else
    [[ $(ps -o state= -p "$pid") = T* ]]
  fi
}

# ---------------------------------------------------------------- what they know
# A login works on it, and it has a complete row of each other member and none of ADDRESS.
sees() { # NAME [ADDRESS]
  local host cluster address found
  read -r _ host _ cluster < "$CASS_RUN/$1/node"
  found=$(peers "$1") || return
  for address in $(addresses "$cluster"); do
    [ "$address" = "$host" ] || grep -qx "$address" <<<"$found" || return
  done
  ! grep -qx "${2:-none}" <<<"$found"
}

# Waits until all running members see each other and none ADDRESS, and makes each a seed of the others again.
settle() { # CLUSTER [ADDRESS]
  local name end=$((SECONDS + CASS_WAIT))
  for name in $(running "$1"); do
    until sees "$name" "${2:-}"; do
      [ "$SECONDS" -lt "$end" ] || die "$name has not seen after $CASS_WAIT s how $1 changed"
      sleep 0.2
    done
  done
  write_seeds "$1"
}

# For their next start: a running node finds moved ones by gossip.
write_seeds() { # CLUSTER
  local name address seeds='' port
  for address in $(addresses "$1"); do seeds=$seeds,$address:; done
  for name in $(members "$1"); do
    port=$(sed -n 's/^storage_port: //p' "$CASS_RUN/$name/conf/cassandra.yaml")
    address=${seeds#,}
    edit "$CASS_RUN/$name/conf/cassandra.yaml" "s/seeds: \".*\"/seeds: \"${address//:/:$port}\"/"
  done
}

set_address() { # NAME ADDRESS
  edit "$CASS_RUN/$1/conf/cassandra.yaml" "s/^listen_address:.*/listen_address: $2/" "s/^rpc_address:.*/rpc_address: $2/"
}

edit() { # FILE COMMAND...: sed's own way to do this has not one form everywhere
  sed "${@:2:1}" "$1" > "$1.new"
  mv "$1.new" "$1"
  if [ $# -gt 2 ]; then edit "$1" "${@:3}"; fi
}

# ---------------------------------------------------------------- what they are told
# Every node keeps all roles. Reads what dcs prints; a data center must have one replica as long as it has a node, if only one
# that leaves.
replicate_roles() { # NAME, which is asked to
  local variant cluster replicas
  read -r variant _ _ cluster < "$CASS_RUN/$1/node"
  [ "$variant" != plain ] || return 0
  replicas=$(awk -v "q='" '{ n[$1] += $2 } END { for (dc in n) print ", " q dc q ": " (n[dc] ? n[dc] : 1) }' | tr -d '\n')
  ask "$1" "ALTER KEYSPACE system_auth WITH replication = {'class': 'NetworkTopologyStrategy'$replicas}" >/dev/null ||
    die "$1 did not change how roles are replicated"
  agree "$cluster"
}

agree() { # CLUSTER: on the schema
  local name end=$((SECONDS + CASS_WAIT)) versions=0
  until [ "$versions" = 1 ]; do
    [ "$SECONDS" -lt "$end" ] || die "the nodes of $1 have different schemas after $CASS_WAIT s"
    versions=$(for name in $(running "$1"); do
      ask "$name" "SELECT JSON schema_version FROM system.local" | grep -o '{".*}' || echo "$name"
    done | sort -u | wc -l)
  done
}

nodetool() { # NAME ARGUMENT...
  local args=$CASS_RUN/$1/conf/jvm.args access
  mapfile -t access < <(grep -e '^--add-' "$args")
  echo '<configuration/>' > "$CASS_RUN/$1/tmp/silent.xml"
  quietly "$(java_home)/bin/java" -Xmx64m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 "${access[@]}" \
    "-Duser.home=$CASS_RUN/$1/tmp" "-Dlogback.configurationFile=$CASS_RUN/$1/tmp/silent.xml" \
    -cp "$(grep -x -A 1 -e -cp "$args" | tail -n 1)" org.apache.cassandra.tools.NodeTool \
    -p "$(sed -n 's/^-Dcassandra.jmx.local.port=//p' "$args")" "${@:2}"
}
