defmodule Palladion.Integration.TLSLevelsTest do
  @moduledoc """
  The levels of identity, with Cassandra configured as the Python drivers' documents show, and what the server saw of each.
  """

  use ExUnit.Case, async: false

  import ExUnit.CaptureLog
  import Palladion.Test.Clusters

  import Palladion.Test.Certificates, only: [tmp_dir: 1, write!: 3]
  import Palladion.Test.Refusals

  alias Palladion.Test.{Authority, Cassandra, SeedServers}

  @moduletag :cassandra
  @moduletag :managed_server
  @moduletag needs_cassandra_5: "TLS by the JDK: that of 4.1 doesn't run on Java 17"

  setup_all do
    keys = for variant <- [:tls, :mtls], provider <- [:jdk, :openssl], do: {variant, provider}
    seeds = for {variant, provider} <- keys, do: SeedServers.server(variant, provider)
    %{servers: keys |> Enum.zip(seeds) |> Map.new() |> Map.put({:tls, :pem}, Cassandra.server())}
  end

  setup :tmp_dir

  # What a client is told, on which servers, and the option that is warned of since it gives something up.
  @levels [
    {"nobody is verified", :tls, [verify: :verify_none], "tls.verify"},
    {"the server's chain", :tls, [:ca, verify_hostname: false], "tls.verify_hostname"},
    {"the server's chain and name", :tls, [:ca], nil},
    {"the server verifies the client", :mtls, [:identity, verify: :verify_none], "tls.verify"},
    {"both verify each other", :mtls, [:ca, :identity], nil}
  ]

  @providers %{tls: [:jdk, :openssl, :pem], mtls: [:jdk, :openssl]}

  for {level, variant, tls, warning} <- @levels,
      provider <- @providers[variant],
      version <- [:"tlsv1.2", :"tlsv1.3"] do
    @tag server: {variant, provider}, tls: tls, warning: warning, version: version
    test "#{level}: #{provider}, #{version}", context do
      server = context.servers[context.server]
      tls = [versions: [context.version]] ++ tls(context.tls, server)

      log =
        capture_log(fn ->
          server
          |> ready_cluster!(tls: tls, application_name: "levels")
          |> assert_seen(server, context)
        end)

      if context.warning, do: assert(log =~ context.warning), else: refute(log =~ "tls.")
    end
  end

  defp tls([:ca | more], server), do: [cacertfile: server.cacertfile] ++ tls(more, server)

  defp tls([:identity | more], server), do: identity(server, "client") ++ tls(more, server)

  defp tls([:other_identity | more], server),
    do: identity(server, "other-client") ++ tls(more, server)

  defp tls(more, _server), do: more

  defp identity(server, name),
    do: [certfile: file(server, "#{name}.crt"), keyfile: file(server, "#{name}.key")]

  defp file(server, name), do: Path.join(server.certs_dir, name)

  # Both ends agree on what protects the connections.
  defp assert_seen(name, server, context) do
    {:ok, %{endpoints: [%{connections: [%{tls: tls} | _]}]}} = Palladion.status(name)
    assert tls.version == context.version
    assert tls.verified_name == if(context.warning, do: nil, else: server.host)

    seen =
      for row <- Palladion.query!(name, "SELECT * FROM system_views.clients").rows,
          row["client_options"]["APPLICATION_NAME"] == "levels",
          do: row

    # The control connection's as well.
    assert length(seen) >= 2

    for row <- seen do
      assert row["ssl_enabled"]
      assert row["ssl_protocol"] == protocol(context.version)
      assert row["ssl_cipher_suite"] == tls.cipher
    end
  end

  defp protocol(:"tlsv1.2"), do: "TLSv1.2"
  defp protocol(:"tlsv1.3"), do: "TLSv1.3"

  # Who is refused: the server, what the client is told, the reason, and what the advice is about. A file is one of the server's
  # certificates; what is made stands in `made/2`.
  @refused [
    {"another authority", {:tls, :jdk}, [cacertfile: {:file, "other-ca.crt"}], :unknown_ca,
     "cacertfile:"},
    {"another authority, and no name checked", {:tls, :jdk},
     [cacertfile: {:file, "other-ca.crt"}, verify_hostname: false], :unknown_ca, "cacertfile:"},
    {"another name", {:tls, :jdk}, [:ca, verify_hostname: "elsewhere.example"], :name_mismatch,
     "verify_hostname:"},
    {"another address", {:tls, :jdk}, [:ca, verify_hostname: "192.0.2.1"], :address_mismatch,
     "verify_hostname:"},
    {"another name by SNI", {:tls, :jdk}, [:ca, server_name_indication: "elsewhere.example"],
     :name_mismatch, "verify_hostname:"},
    {"a revoked certificate", {:tls, :jdk}, [:ca, crlfile: {:made, :revoked}],
     :certificate_revoked, "revoked"},
    {"another pin", {:tls, :jdk}, [:ca, pinned: {:made, :other_pin}], :pin_mismatch, "pinned:"},
    {"another pin without an authority", {:tls, :jdk}, [pinned: {:made, :other_pin}],
     :pin_mismatch, "pinned:"},
    {"the pinned certificate for another name", {:tls, :jdk},
     [pinned: {:made, :pin}, verify_hostname: "elsewhere.example"], :name_mismatch,
     "verify_hostname:"},
    {"no common cipher suite", {:tls, :jdk},
     [:ca, versions: [:"tlsv1.2"], ciphers: ["ECDHE-ECDSA-AES128-GCM-SHA256"]], :cipher_mismatch,
     "ciphers:"},
    {"no common cipher suite", {:tls, :openssl},
     [:ca, versions: [:"tlsv1.2"], ciphers: ["ECDHE-ECDSA-AES128-GCM-SHA256"]], :cipher_mismatch,
     "ciphers:"},
    {"no client certificate", {:mtls, :jdk}, [:ca, versions: [:"tlsv1.2"]],
     :client_certificate_missing, "certfile:"},
    {"no client certificate", {:mtls, :jdk}, [:ca, versions: [:"tlsv1.3"]],
     :client_certificate_missing, "certfile:"},
    {"no client certificate", {:mtls, :openssl}, [:ca, versions: [:"tlsv1.2"]],
     :client_certificate_missing, "certfile:"},
    {"no client certificate", {:mtls, :openssl}, [:ca, versions: [:"tlsv1.3"]],
     :client_certificate_missing, "certfile:"},
    {"an untrusted client certificate", {:mtls, :jdk},
     [:ca, :other_identity, versions: [:"tlsv1.2"]], :certificate_rejected, "truststore"},
    {"an untrusted client certificate", {:mtls, :jdk},
     [:ca, :other_identity, versions: [:"tlsv1.3"]], :certificate_rejected, "truststore"},
    # Netty's BoringSSL only says internal_error, and in TLS 1.3 what we have sent meanwhile may make it lose even that.
    {"an untrusted client certificate", {:mtls, :openssl},
     [:ca, :other_identity, versions: [:"tlsv1.2"]], :certificate_rejected, "truststore"},
    {"an untrusted client certificate", {:mtls, :openssl},
     [:ca, :other_identity, versions: [:"tlsv1.3"]], :certificate_rejected, "truststore"}
  ]

  for {{title, server, tls, reason, about}, row} <- Enum.with_index(@refused, 1) do
    @tag server: server, tls: tls, reason: reason, about: about
    test "refused (#{row}): #{title}, #{inspect(server)}", context do
      server = context.servers[context.server]
      tls = context.tls |> tls(server) |> Enum.map(&made(&1, server, context))
      assert_refused(server, tls, context.reason, context.about)
    end
  end

  # Whoever passes all checks is accepted.
  @accepted [
    {"the pinned certificate without an authority", [pinned: {:made, :pin}]},
    {"one of two pins, and the authority", [:ca, pinned: {:made, :pins}]},
    {"a list on which another certificate is revoked", [:ca, crlfile: {:made, :not_revoked}]},
    {"one cipher suite and one group",
     [:ca, ciphers: ["TLS_AES_256_GCM_SHA384"], supported_groups: [:secp256r1]]},
    {"several authorities in one file", [cacertfile: {:made, :authorities}]}
  ]

  for {title, tls} <- @accepted do
    @tag tls: tls
    test "accepted: #{title}", context do
      server = context.servers[{:tls, :jdk}]
      tls = context.tls |> tls(server) |> Enum.map(&made(&1, server, context))
      name = ready_cluster!(server, tls: tls)
      assert [_] = Palladion.query!(name, "SELECT release_version FROM system.local").rows
    end
  end

  # Options that must be made first.
  defp made({option, {:file, name}}, server, _context), do: {option, file(server, name)}

  defp made({option, {:made, what}}, server, context),
    do: {option, made(what, server, context)}

  defp made(:pin, server, _context), do: pin(server, "server.crt")
  defp made(:other_pin, server, _context), do: pin(server, "client.crt")

  defp made(:pins, server, context),
    do: [made(:other_pin, server, context), made(:pin, server, context)]

  defp made(:revoked, server, context), do: revoked(server, "server.crt", context)
  defp made(:not_revoked, server, context), do: revoked(server, "client.crt", context)

  defp made(:authorities, server, %{tmp_dir: directory}) do
    files = for file <- ["other-ca.crt", "ca.crt"], do: File.read!(file(server, file))
    write!(directory, "authorities.crt", files)
  end

  defp made(option, _server, _context), do: option

  # As `openssl x509 -fingerprint -sha256` prints it.
  defp pin(server, file) do
    [{:Certificate, der, _}] = server |> file(file) |> File.read!() |> :public_key.pem_decode()
    :sha256 |> :crypto.hash(der) |> Base.encode16() |> String.replace(~r/..(?=.)/, "\\0:")
  end

  defp revoked(server, file, %{tmp_dir: directory}) do
    directory
    |> Authority.open(file(server, "ca.crt"), file(server, "ca.key"))
    |> Authority.revoke!([file(server, file)])
  end
end
