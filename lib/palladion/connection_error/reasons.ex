defmodule Palladion.ConnectionError.Reasons do
  @moduledoc false
  # Internal: what each reason means and what to do about it, as data: the messages and the
  # documentation are both made of it.

  @reasons [
    # To the server
    dns_failed: {
      "the host name can't be resolved",
      "Check its spelling in contact_points:, and that this machine's DNS knows it."
    },
    connection_refused: {
      "nothing listens on that port",
      "Is the server up, is native_transport_port the port in contact_points:, and does " <>
        "the server listen on an address that is reachable from here (rpc_address)?"
    },
    unreachable: {
      "there is no way to the host",
      "Check the address, and the networks and firewalls in between."
    },
    connect_timeout: {
      "the host doesn't answer",
      "A host that is down looks like this, and a firewall that drops packets. Where the " <>
        "network is that slow, raise connect_timeout:."
    },
    connect_failed: {
      "the TCP connection can't be opened",
      "The operating system's reason is given; limits on open files are a common one."
    },
    # TLS
    not_tls: {
      "the server speaks plain text on this port, and not TLS",
      "Take the port that has TLS (client_encryption_options in cassandra.yaml). Where " <>
        "the network is trusted, tls: false does without."
    },
    server_requires_tls: {
      "the server speaks TLS on this port, and tls: is false",
      "Remove tls: false; where the server has an authority of its own, give its " <>
        "certificate as tls: [cacertfile: ...]."
    },
    tls_timeout: {
      "the TLS handshake was not finished in time",
      "The server may be overloaded, or the port another service's. tls_timeout: is the limit."
    },
    unknown_ca: {
      "the server's certificate comes from an authority that is not trusted",
      "Give that authority's certificate as tls: [cacertfile: ...]; without it, the " <>
        "system's roots are trusted. If you gave it, and it is an authority's " <>
        "(basicConstraints CA:TRUE), this may not be your server."
    },
    certificate_self_signed: {
      "the server's certificate is signed by itself, and not trusted",
      "If it is your server's (compare the fingerprint there), give this very certificate as " <>
        "tls: [cacertfile: ...], or its fingerprint as tls: [pinned: ...]."
    },
    pin_mismatch: {
      "the server's certificate is none of the pinned ones",
      "If it was renewed (compare the fingerprint on the server), add the new one to " <>
        "tls: [pinned: ...]; otherwise, this may not be your server."
    },
    name_mismatch: {
      "the server's certificate is for another name",
      "Use one of its names in contact_points:, or name the right one with " <>
        "tls: [verify_hostname: ...]. If none is expected, this may not be your server."
    },
    address_mismatch: {
      "the server's certificate is not for its IP address",
      "An address must be in the certificate as one (subjectAltName IP:...). Make one that has " <>
        "it, or connect by a host name that is in it, or give that as " <>
        "tls: [verify_hostname: ...]."
    },
    no_subject_alt_name: {
      "the server's certificate has no subject alternative name",
      "Common names are not read. Make a certificate with subjectAltName (keytool: -ext " <>
        "SAN=dns:NAME); until then, tls: [pinned: ..., verify_hostname: false] takes this one " <>
        "alone."
    },
    certificate_v1: {
      "the server's certificate is X.509 v1, which can name no host",
      "Make it v3: openssl x509 -req -in SERVER.csr -CA CA.pem -CAkey CA.key -CAcreateserial " <>
        "-out SERVER.pem -extfile FILE, with the line subjectAltName=DNS:NAME in FILE."
    },
    certificate_expired: {
      "the server's certificate has expired",
      "Renew it on the server (and check this machine's clock)."
    },
    certificate_not_yet_valid: {
      "the server's certificate is not valid yet",
      "Check the clocks of this machine and of the one that made it."
    },
    certificate_revoked: {
      "the server's certificate, or its issuer's, has been revoked",
      "Its key may be in wrong hands: find out why it was revoked, and give the server a new one."
    },
    revocation_unknown: {
      "no current revocation list says whether the server's certificate is still good",
      "Renew tls: [crlfile: ...], with a list of each authority in the chain. crl_check: :peer " <>
        "asks for that of the server's own certificate alone."
    },
    certificate_invalid: {
      "the server's certificate can't be accepted",
      "It must be an X.509 v3 certificate for servers, with its names as subject " <>
        "alternative names, signed by an authority that may sign."
    },
    client_certificate_missing: {
      "the server wants a certificate from us, and got none",
      "Give tls: [certfile: ..., keyfile: ...], from an authority in the server's truststore. If " <>
        "they are given, and the certificate is the login, the server didn't ask for it: set " <>
        "require_client_auth: true in its client_encryption_options. The detail says which."
    },
    certificate_rejected: {
      "the server refused our certificate",
      "Its authority must be in the server's truststore, and it must be in date and for " <>
        "clients. The server's log has the reason."
    },
    cipher_mismatch: {
      "there is no cipher suite or group that both sides allow",
      "Leave out tls: [ciphers: ..., supported_groups: ...], or add what the server has; the " <>
        "server must allow suites with ECDHE and AES-GCM or ChaCha20 (cipher_suites in " <>
        "cassandra.yaml), and its key must fit them."
    },
    tls_version: {
      "there is no TLS version that both sides allow",
      "The server must allow TLS 1.2 or 1.3, and tls: [versions: ...] must include it."
    },
    tls_alert: {
      "the server ended the TLS handshake",
      "Its alert is given; the server's log has the reason."
    },
    tls_failed: {
      "the TLS handshake failed",
      "The detail says where; the server's log may say more."
    },
    # Login
    login_timeout: {
      "the server didn't finish the login in time",
      "It may be overloaded or still starting. login_timeout: is the limit."
    },
    bad_credentials: {
      "the server refused the login",
      "Check auth: [username: ..., password: ...]; the role needs LOGIN = true."
    },
    unknown_authenticator: {
      "the server uses an authenticator that may not get the password",
      "If you trust it, name its class in auth: [allowed_authenticators: [...]]."
    },
    auth_required: {
      "the server asks for a login, and none is configured",
      "Give auth: [username: ..., password: ...], or credentials:, sigv4:, authenticator: or " <>
        "mechanism: instead; where a certificate is the login, tls: [certfile: ..., keyfile: ...]."
    },
    auth_not_requested: {
      "the server asks for no login, though one is configured",
      "Either it is another server, or its authenticator is AllowAllAuthenticator. If that " <>
        "is as intended, set auth: [require_auth: false]."
    },
    mechanism_refused: {
      "the server doesn't take the login's mechanism",
      "Name one that the server has as auth: [mechanism: ...], or several in order of preference; " <>
        "the server's log may say which it has."
    },
    challenge_malformed: {
      "the server sent something that the login's mechanism has no sense for",
      "Does the server use this mechanism? If so, please report it with the details."
    },
    server_not_authentic: {
      "the server doesn't prove that it knows the password",
      "It accepted the login all the same, so this may not be your server. It got no query; find " <>
        "out what answers at that address."
    },
    signature_refused: {
      "the server refused the SigV4 signature",
      "Check this machine's clock (a few minutes off are too many), that auth: [sigv4: " <>
        "[region: ...]] is the endpoint's, that the access key is active and its session token " <>
        "is current, and that its IAM policy allows cassandra:Select on the system tables."
    },
    credentials_missing: {
      "there are no AWS credentials",
      "The chain looks at AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the profile's files " <>
        "(auth: [sigv4: [profile: ...]]), web identity, and the container's or instance's role; " <>
        "auth: [sigv4: [access_key_id: ..., secret_access_key: ...]] does without it."
    },
    credentials_failed: {
      "the login's credentials could not be found out",
      "Look at the function or the file in auth:, or at the AWS provider, that the detail names; " <>
        "it is asked again at the next attempt."
    },
    credentials_timeout: {
      "the login's credentials were not there in time",
      "A function or a file in auth:, or an AWS provider, takes too long. auth: [timeout: ...] " <>
        "is the limit."
    },
    credentials_expired: {
      "the login's credentials have expired already",
      "Whatever gives them must give newer ones; check this machine's clock, too."
    },
    credentials_invalid: {
      "the user name or the password can't be sent by the login's mechanism",
      "The detail says why: a zero byte, for one, is possible nowhere. Take another name, password " <>
        "or mechanism."
    },
    authenticator_failed: {
      "the module in auth: [authenticator: ...] failed, or refused the login",
      "The detail names the callback and what it did; no value is shown, as it may be a secret."
    },
    authenticator_timeout: {
      "the module in auth: [authenticator: ...] didn't answer in time",
      "One of its callbacks waits for something. auth: [timeout: ...] is the limit of each."
    },
    # Protocol
    unsupported_protocol: {
      "the server doesn't speak this version of the protocol",
      "Palladion speaks versions 3 to 5: Cassandra 2.1 and later, ScyllaDB, Amazon Keyspaces, DSE. " <>
        "Where protocol: [version: ...] asks for one, leave it out: then the newest that the " <>
        "server speaks is found."
    },
    unsupported_compression: {
      "the server doesn't offer the compression that is configured",
      "Take one that it offers as protocol: [compression: ...], or leave that out: then nothing is " <>
        "compressed."
    },
    protocol_changed: {
      "the request was made for a version of the protocol that is no longer spoken",
      "A node that speaks only an older one was found meanwhile. Send the request again."
    },
    protocol_error: {
      "the other side broke the protocol",
      "Is it a Cassandra server? If so, please report this with the details."
    },
    keyspace_failed: {
      "the keyspace can't be used",
      "Check that keyspace: exists, in exactly this spelling, and that the role may use it."
    },
    # A connection that was there
    connection_closed: {
      "the server closed the connection",
      "It may be restarting; Palladion connects again by itself. The server's log has the reason."
    },
    connection_lost: {
      "the connection broke",
      "Palladion connects again by itself. Read before you repeat what must not happen twice."
    },
    heartbeat_timeout: {
      "the server gave no sign of life and the connection was dropped",
      "The server or the network hangs; Palladion connects again by itself. " <>
        "heartbeat_timeout: is the limit."
    },
    too_many_orphans: {
      "too many of the connection's requests never got an answer, and it was replaced",
      "The server or a table is too slow for the timeouts of its callers: look at its load, " <>
        "or give timeout: more."
    },
    # Before a connection
    overloaded: {
      "every connection's queue is full",
      "Send less at a time, or raise pool: [size: ...] or pool: [max_queue: ...]."
    },
    not_prepared: {
      "the cluster forgets the request's statements while they are prepared",
      "Raise prepared_cache_size: above the number of statements that are used at a time; a " <>
        "batch may have that many by itself."
    },
    too_many_waiters: {
      "too many callers already wait for the first connection",
      "Start what sends requests after Palladion.await_ready/2; pool: [max_waiters: ...] is " <>
        "the limit."
    },
    timeout: {
      "there was no answer in time",
      "timeout: is the limit, for the cluster or for one request; the server may still be " <>
        "at work on it."
    },
    attempt_timeout: {
      "the node did not answer within attempt_timeout:",
      "The node or the table is slow, or attempt_timeout: is too short for this request. With " <>
        "idempotent: true and retry: :default, the next node is asked."
    },
    already_awaited: {
      "the request's answer was taken before, or the request was cancelled",
      "Await each submitted request once, in the process that submitted it."
    },
    no_connection: {
      "there is no connection to any node",
      "Palladion.status/1 tells why; Palladion.await_ready/2 waits for one."
    },
    no_local_nodes: {
      "the data center in local_datacenter: has no nodes",
      "Take one of those there are, in exactly this spelling; load_balancing: :all_nodes does " <>
        "without."
    },
    closed: {
      "the cluster has been stopped",
      "Take the cluster that was started in its place, or stop asking before it stops."
    },
    unknown_cluster: {
      "no cluster with this name is running",
      "Start {Palladion, name: ...} under your supervisor before its users, and check the name."
    },
    internal: {
      "an answer was lost in Palladion's native part",
      "It can happen while a cluster stops; otherwise, please report it with the details."
    },
    panic: {
      "something in Palladion's native part failed that must not",
      "Please report it with the details. Other requests are not affected."
    }
  ]

  @doc false
  @spec all() :: keyword({what :: String.t(), advice :: String.t()})
  def all, do: @reasons

  @doc false
  # Kinds from a newer native library have a text as well.
  @spec fetch(atom()) :: {String.t(), String.t()}
  def fetch(reason) do
    Keyword.get_lazy(@reasons, reason, fn ->
      {"failed with #{reason}", "The details and the server's log may say more."}
    end)
  end

  @doc false
  @spec docs() :: String.t()
  def docs do
    rows =
      for {reason, {what, advice}} <- @reasons,
          do: "| `#{inspect(reason)}` | #{what} | #{advice} |\n"

    "| reason | what happened | what to do |\n|---|---|---|\n" <> Enum.join(rows)
  end
end
