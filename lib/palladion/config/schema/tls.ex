defmodule Palladion.Config.Schema.TLS do
  @moduledoc false
  # Internal: the options of TLS. Names and forms are those of Erlang's :ssl where it has them.

  alias Palladion.Config.{Options, Parameters}

  @doc false
  @spec options() :: Options.schema()
  def options, do: trust() ++ identity() ++ names() ++ parameters() ++ life()

  defp trust do
    [
      verify: [
        type: {:in, [:verify_peer, :verify_none]},
        default: :verify_peer,
        doc: "`:verify_none` connects to anyone who answers: no protection from an attacker."
      ],
      cacertfile: [
        type: :path,
        default_text: "the system's roots",
        doc:
          "The authorities to trust: PEM (any number of certificates) or DER. A server's own " <>
            "certificate in it is trusted as it is, also one that signed itself, but not what it has " <>
            "signed: an authority's has `CA:TRUE` and, if it has a key usage, `keyCertSign` (of " <>
            "X.509 v1, one that signed itself)."
      ],
      cacerts: [
        type: :any,
        value: "a list of DER binaries",
        doc: "The same, not from a file."
      ],
      pinned: [
        type: :any,
        value: "a SHA-256 fingerprint, 32 bytes or hexadecimal, or a list of them",
        default_text: "none",
        doc:
          "Only servers with one of these certificates are taken, name and dates checked as " <>
            "ever. Alone, no authority is trusted, the system's neither; with `cacertfile:` or " <>
            "`cacerts:` both must hold. A renewed certificate must be pinned before it is used."
      ],
      crlfile: [
        type: :path,
        default_text: "none",
        doc:
          "Certificate revocation lists, PEM (any number) or DER: what they have revoked is " <>
            "refused. None is downloaded, so a list must be renewed before it is outdated. A " <>
            "server's own certificate in `cacertfile:` is looked up in its issuer's, unless it " <>
            "signed itself."
      ],
      crls: [
        type: :any,
        value: "a list of DER binaries",
        default_text: "none",
        doc: "The same, not from a file."
      ],
      crl_check: [
        type: {:in, [:chain, :peer, :best_effort]},
        default_text: "`:chain`",
        doc:
          "For which certificates there must be a list that is not outdated: `:chain` all below " <>
            "the root, `:peer` the server's own. `:best_effort` takes lists however old, and " <>
            "certificates without one: what was revoked since is accepted."
      ]
    ]
  end

  defp identity do
    [
      certfile: [
        type: :path,
        doc:
          "Our own certificate, for servers that ask for one, followed by its intermediates: " <>
            "PEM, DER or PKCS#12. The key may be in the same PEM file, and is in PKCS#12."
      ],
      keyfile: [
        type: :path,
        doc: "Its private key, PEM or DER: RSA, ECDSA (P-256, P-384, P-521) or Ed25519."
      ],
      password: [
        type: :any,
        secret: true,
        value: "a string, a charlist or a function that returns one",
        doc:
          "The password of an encrypted key or of a PKCS#12 file (there, a `Palladion.Secret` " <>
            "as well)."
      ],
      cert: [
        type: :any,
        value: "DER or a list of DER",
        doc: "The certificate not from a file, followed by its intermediates."
      ],
      key: [
        type: :any,
        secret: true,
        value:
          "`{:RSAPrivateKey, der}`, `{:ECPrivateKey, der}`, `{:PrivateKeyInfo, der}` or a " <>
            "function that returns one",
        doc: "Its private key, not from a file."
      ]
    ]
  end

  defp names do
    [
      server_name_indication: [
        type: :any,
        value: "a host name or `:disable`",
        default_text: "the name that is checked",
        doc:
          "The name to ask every server for and, unless `verify_hostname:` has another, to check " <>
            "its certificate against. `:disable` asks for none; the certificate is checked for " <>
            "the same name as without it."
      ],
      verify_hostname: [
        type: :any,
        value:
          "a host name, an IP address, `\"node-{host_id}.example\"`, a map, a function, " <>
            "`{module, function, arguments}` or `false`",
        default_text: "the endpoint's",
        doc:
          "The name to check certificates against, where it is another than that of the contact " <>
            "point or of `endpoint_resolver:`: one for all, or one for each node, see " <>
            "`Palladion.EndpointResolver`. A template of more than `{address}` must end with a " <>
            "domain. `false` checks the chain only: any server of the same " <>
            "authority will do."
      ]
    ]
  end

  defp parameters do
    [
      versions: [
        type: :any,
        default: [:"tlsv1.2", :"tlsv1.3"],
        value: "a list of `:\"tlsv1.2\"` and `:\"tlsv1.3\"`",
        doc: "The versions of TLS to speak."
      ],
      ciphers: [
        type: :any,
        default_text: "all",
        value: "a list of #{code(Parameters.cipher_names())}, or the names OpenSSL has for them",
        doc:
          "The cipher suites to offer, in order of preference. All of them are safe; fewer only " <>
            "make servers unreachable that have none of them."
      ],
      supported_groups: [
        type: :any,
        default_text: "all",
        value: "a list of #{code(Enum.map(Parameters.groups(), &inspect/1))}",
        doc:
          "The groups to agree on keys with, in order of preference. `:x25519mlkem768` resists " <>
            "quantum computers too, for a larger handshake."
      ]
    ]
  end

  defp life do
    [
      key_log: [
        type: :path,
        default_text: "none",
        doc:
          "A file that the keys of all connections are appended to, as Wireshark reads them. For " <>
            "debugging only: whoever reads it reads the traffic, passwords included. A plain file, " <>
            "made or set to be readable by its owner alone (0600); anything else, such as a " <>
            "symbolic link or a pipe, is refused."
      ],
      session_cache: [
        type: :any,
        default_text: "on",
        default: [],
        value: "`false` or [options](#session-cache-options)",
        doc:
          "Whether later connections resume the TLS session of earlier ones. Certificates are " <>
            "checked again each time. `false`: each handshake is a full one, with its cost."
      ],
      watch_interval: [
        type: {:ms, 1..86_400_000},
        default_text: "none",
        doc:
          "How often the files of these options are looked at; what changed is loaded and taken " <>
            "over without a restart. Without it, `Palladion.reload_tls/2` does."
      ],
      expiry_warning: [
        type: {:or, [{:in, [false]}, {:int, 1..3_650}]},
        default: 30,
        doc:
          "How many **days** before a certificate expires, a server's, our own or a configured " <>
            "authority's, the log says so. `false`: never."
      ]
    ]
  end

  defp code(names), do: Enum.map_join(names, ", ", &"`#{&1}`")

  @doc false
  @spec session_cache() :: Options.schema()
  def session_cache do
    [
      size: [
        type: {:int, 1..100_000},
        default: 100,
        doc: "How many endpoints to remember sessions of. Kept in memory only."
      ],
      ttl: [
        type: {:int, 1..604_800},
        default: 3_600,
        doc:
          "How long a session may be used, in **seconds**, at most 7 days. Keep it below the " <>
            "server's own limit."
      ],
      max_lineage: [
        type: {:int, 1..2_592_000},
        default: 86_400,
        doc:
          "How long sessions may descend from one full handshake, in **seconds**, at most 30 " <>
            "days; the certificates' expiry ends it earlier."
      ]
    ]
  end
end
